/** The backup before a recovery that takes something away: its key, or why there is none. */
export type BackupBefore = { readonly key: string } | { readonly waived: string }

/** In a plan: whoever approves one without a backup says that it goes on without. */
export function backupBeforeMarkdown(backup: BackupBefore): string {
  return 'key' in backup
    ? `- Backup before: \`${backup.key}\`.`
    : `- ⚠ **No backup before**: ${backup.waived.replace(/\.$/, '')}. Approving goes on without one.`
}
