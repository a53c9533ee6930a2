//! The time since the program began, and chance from the kernel.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use control::machine::Clock;

/// How long a question to a worker waits between two looks.
const PAUSE: Duration = Duration::from_micros(100);

/// One start for everybody: workers, control core and local host count from it.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Begins now.
    pub fn begin() -> Self {
        SystemClock {
            start: Instant::now(),
        }
    }

    /// Since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        self.now().as_millis() as u64
    }
    fn wall_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    }
    fn pause(&self) {
        std::thread::sleep(PAUSE);
    }
    fn random(&self, into: &mut [u8]) {
        random(into);
    }
}

/// Unpredictable bytes. A machine without a random source must not make tokens, so there is no going on without.
pub fn random(into: &mut [u8]) {
    let filled = File::open("/dev/urandom").and_then(|mut source| source.read_exact(into));
    if let Err(error) = filled {
        panic!("/dev/urandom: {error}");
    }
}

/// An unpredictable number.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    random(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Since the kernel started for process 1; since `clock` began for anybody else.
pub fn since_power_on(clock: &SystemClock) -> Duration {
    if std::process::id() != 1 {
        return clock.now();
    }
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
