"""Re-checks a whole ledger from its bytes: every hash, link and signature (proto/README.md, "What an audit checks")."""

from lineage_ledger.audit.audit import audit
from lineage_ledger.audit.facts import BatchFacts, Counts, LedgerFacts
from lineage_ledger.audit.incremental import IncrementalAudit
from lineage_ledger.audit.observer import Observer, Observers
from lineage_ledger.audit.report import Finding, Report
from lineage_ledger.audit.source import BundleSource, LogSource, Reopen
from lineage_ledger.audit.state import AuditState, Since, read_since
from lineage_ledger.audit.totals import TotalsObserver

__all__ = [
    "AuditState",
    "BatchFacts",
    "BundleSource",
    "Counts",
    "Finding",
    "IncrementalAudit",
    "LedgerFacts",
    "LogSource",
    "Observer",
    "Observers",
    "Reopen",
    "Report",
    "Since",
    "TotalsObserver",
    "audit",
    "read_since",
]
