//! Builds the kernel, the initramfs and the disk image, rootless and reproducible.

#![forbid(unsafe_code)]
