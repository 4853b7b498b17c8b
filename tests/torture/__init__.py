"""Torture: proof that nothing acknowledged is lost, whatever is killed, cut off or refused. `make torture`.

Five parts, each with seeds, counts, and a negative control: the same check on a sidecar that breaks its promise on
purpose (broken.py, or a disk that lies) must find a loss, or the part is red. What cannot fail proves nothing.

    kills.py    random SIGKILLs of daemon, zygotes and keeper under load
    points.py   every crash point (sidecar/crashpoints.py), from several seeds
    power.py    the states that a power cut could leave, rebuilt from a record of the daemon's writes    disk.py  those
    faults.py   ENOSPC and EIO at the N-th write, the N-th sync
    endurance.py   jobs without end, and nothing that grows by them

    runner.py   sizes, and the parts one after the other          __main__.py    the command line
    house.py    a sidecar to be hurt                              load.py        clients that write down their acks
    jobs.py     jobs that write down that they ran  heavy.py      ledger.py      the set algebra over what was written
    recorder.c  the library between the daemon and its files      broken.py      the sidecars that lose things

Loss is decided by files alone: clients write down an ack before they use it, jobs that they run, the store what became
of it. So neither a log nor a message of the daemon's is believed.
"""
