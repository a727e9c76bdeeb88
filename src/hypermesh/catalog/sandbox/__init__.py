"""Holding a process: namespaces (`bubblewrap`), system calls (`seccomp`), limits (`cgroup`)."""
