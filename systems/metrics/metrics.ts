import type { MetricCounter, MetricGauge, MetricHistogram, MetricMeter } from '@temporalio/common'
import type { Metric } from '../../domain/metrics.ts'

type Of<Kind extends Metric['kind']> = Metric & { readonly kind: Kind }
/** A value for each label of a metric, none missing: series that lack one would not match their rules. */
type LabelsOf<One extends Metric> = Readonly<Record<One['labels'][number], string>>

/** What a worker exports of its own, through the endpoint that Temporal's SDK has for its metrics. */
export class Metrics {
  readonly #meter: MetricMeter
  readonly #gauges = new Map<string, MetricGauge>()
  readonly #counters = new Map<string, MetricCounter>()
  readonly #histograms = new Map<string, MetricHistogram>()

  /** @param meter - the runtime's; its no-op meter where nobody asked for metrics */
  constructor(meter: MetricMeter) {
    this.#meter = meter
  }

  set<One extends Of<'gauge'>>(metric: One, labels: LabelsOf<One>, value: number): void {
    const { name, about } = metric
    const gauge = once(this.#gauges, name, () => this.#meter.createGauge(name, 'float', undefined, about))
    gauge.set(value, labels)
  }

  add<One extends Of<'counter'>>(metric: One, labels: LabelsOf<One>, value: number): void {
    const { name, about } = metric
    once(this.#counters, name, () => this.#meter.createCounter(name, undefined, about)).add(value, labels)
  }

  record<One extends Of<'histogram'>>(metric: One, labels: LabelsOf<One>, value: number): void {
    const { name, about } = metric
    const make = (): MetricHistogram => this.#meter.createHistogram(name, 'float', undefined, about)
    once(this.#histograms, name, make).record(value, labels)
  }
}

function once<Value>(known: Map<string, Value>, name: string, make: () => Value): Value {
  const value = known.get(name) ?? make()
  known.set(name, value)
  return value
}
