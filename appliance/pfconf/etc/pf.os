# How a few well-known systems open a TCP connection. A tree with an etc/pf.os of its own uses that instead.
#
# window:ttl:df:size:options:class:version:subtype:description
#   window   bytes, * for any, %n for a multiple of n, Sn for n segments, Tn for n packets
#   ttl      at the origin
#   df       1 with "don't fragment"
#   size     bytes of the packet, * or %n
#   options  M segment size, W window scale, S selective acknowledgements, T timestamps (T0: a zero), N padding
# The first signature that fits counts.

# Linux since 3.x begins with 64240 or 65535 bytes, before that with ten segments.
64240:64:1:60:M*,S,T,N,W7:Linux:4.20-6:modern:Linux with its usual settings
64240:64:1:60:M*,S,T,N,W*:Linux:4.20-6::Linux with other buffers
65535:64:1:60:M*,S,T,N,W*:Linux:android::Linux on Android
S10:64:1:60:M*,S,T,N,W*:Linux:3::Linux 3 and 4
S20:64:1:60:M*,S,T,N,W*:Linux:4::Linux 4
S44:64:1:60:M*,S,T,N,W*:Linux:4::Linux 4

# The BSDs differ in the order of their options.
16384:64:1:64:M*,N,N,S,N,W*,N,N,T:OpenBSD:::OpenBSD
65535:64:1:60:M*,N,W*,S,T:FreeBSD:::FreeBSD
32768:64:1:60:M*,N,W*,S,T:NetBSD:::NetBSD

# Apple's systems end their options with selective acknowledgements.
65535:64:1:64:M*,N,W*,N,N,T,S:MacOS:::macOS and iOS

# Windows starts at 128 and sends no timestamps unless told to.
64240:128:1:52:M*,N,W8,N,N,S:Windows:10::Windows 10 and 11
65535:128:1:52:M*,N,W8,N,N,S:Windows:10::Windows 10 and 11
8192:128:1:52:M*,N,W8,N,N,S:Windows:7::Windows 7 to 8.1
8192:128:1:52:M*,N,W2,N,N,S:Windows:7::Windows 7, Vista
%8192:128:1:48:M*,N,N,S:Windows:XP::Windows XP, 2000
65535:128:1:48:M*,N,N,S:Windows:XP::Windows XP
