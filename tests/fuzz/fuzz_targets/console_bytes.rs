//! Keys at the console, messages in between: never a panic. Whoever types is trusted, but line noise is not typing.

#![no_main]

use std::time::Duration;

use console::{COLUMNS, Console, ROWS};
use control::fake::Fake;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut api = Fake::default();
    let mut console = Console::new(ROWS, COLUMNS, Box::new(|bytes| bytes.fill(5)));
    console.start(&mut api);
    for (i, piece) in data.chunks(7).enumerate() {
        let now = Duration::from_millis(i as u64 * 50);
        console.feed(piece, &mut api, now);
        console.poll(now, &mut api);
        if i % 5 == 0 {
            console.print_async("vio0: link up");
        }
        console.take_output();
    }
});
