"""What a file costs on this host, and what another form or another network would cost."""
