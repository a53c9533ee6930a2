//! Process 1: mounts, huge pages, device binding, configuration slots, watchdog, epitaph.
