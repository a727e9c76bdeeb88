"""Jobs: what a user asks a machine to run, and the sandboxes that hold it to its limits.

`job` reads job files; `sandbox` holds processes (namespaces, system calls, cgroups); `engines` runs
programs inside and is entered through `engines.ladder`.
"""
