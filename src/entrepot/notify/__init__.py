"""Adapters that tell others: the port Mail over SMTP, the port Forwarder over syslog."""
