"""A team's own code behind this server: any `kserve.Model`, in processes of its own.

The server takes connections, bounds them, counts and logs; the code runs in other processes (`worker`), which a small
process starts (`spawner`). Whatever the code does, the server goes on: it answers probes, ends a request at its
deadline, and replaces a process that hangs, crashes or leaks. The request that a process was executing when it ended
gets the error; the others are sent to another process.
"""
