//! Sockets, timers and the event loop: the only place that talks to the operating system about
//! traffic.
