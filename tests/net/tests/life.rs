//! Starting, resting, ending.

use net_tests::{OUTSIDE, OUTSIDE6, Plan, Result, Site, skip, until};
use std::time::{Duration, Instant};

/// How long it is watched.
const LOOK: Duration = Duration::from_secs(2);
/// Of one core.
const IDLE_MAX: f64 = 0.10;

/// Packet buffers in use.
fn buffers(site: &Site) -> Result<u64> {
    Ok(site.get("/v1/status")?["buffers_used"]
        .as_u64()
        .unwrap_or(u64::MAX))
}

/// The time of the first answer in ping's output, in milliseconds.
fn milliseconds(said: &str) -> Option<f64> {
    said.split_once("time=")?
        .1
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Share of one core that the program uses.
fn processor_share(site: &Site) -> Result<f64> {
    let (before, started) = (site.program.processor_time()?, Instant::now());
    // Not a wait for a condition: a time without packets is what is tested.
    std::thread::sleep(LOOK);
    let used = site.program.processor_time()? - before;
    Ok(used.as_secs_f64() / started.elapsed().as_secs_f64())
}

#[test]
fn at_rest_it_leaves_the_processor_alone_and_wakes_up_at_once() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::open(&Plan::default())?;
    site.warm_up()?;
    // Hosts still look for routers and listeners now and then; each packet keeps the worker up for a while.
    let share = until("rest", || {
        let share = processor_share(&site)?;
        Ok((share < IDLE_MAX).then_some(share))
    })?;
    let said = site.inside(&["ping", "-c1", "-W2", OUTSIDE])?;
    let first = milliseconds(&said).unwrap_or(f64::MAX);
    println!(
        "at rest: {:.1} % of a core; first ping afterwards {first} ms",
        share * 100.0
    );
    // The figure is for people; the machine may be busy compiling.
    assert!(first < 1000.0, "{said}");
    Ok(())
}

#[test]
fn sigterm_ends_it_cleanly_and_no_buffer_is_lost() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let mut site = Site::open(&Plan::default())?;
    site.warm_up()?;
    let baseline = until("rest", || {
        let (one, two) = (buffers(&site)?, buffers(&site)?);
        Ok((one == two).then_some(one))
    })?;
    for to in [OUTSIDE, OUTSIDE6] {
        site.inside(&["ping", "-q", "-c500", "-i0.002", "-s1000", "-W2", to])?;
        // Nobody is there: packets wait for a neighbor that does not come.
        let nobody = to.replace("2.2", "2.77").replace("::2", "::77");
        site.host(net_tests::Port::Inside)
            .run(&["ping", "-q", "-c3", "-i0.1", "-W1", &nobody])?;
    }
    let mut last = 0;
    let back = until("buffers given back", || {
        last = buffers(&site)?;
        Ok((last <= baseline).then_some(last))
    });
    println!("buffers in use: {baseline} before, {last} after");
    back?;
    let status = site.program.terminate()?;
    assert_eq!(status.code(), Some(0), "{status}");
    println!("SIGTERM: {status}");
    Ok(())
}
