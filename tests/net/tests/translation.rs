//! Real programs through translation: downloads, datagrams, ping and traceroute from behind one address, a service behind
//! a redirection, and IPv6 hosts that reach IPv4 ones.

use hosts::service::Web;
use net_tests::clients::{
    WHOLE4, download, echoes, fetch, one_router_on_the_way, ping, serve_large, url_at,
};
use net_tests::{
    INSIDE, NAT_RULES, OUTSIDE, OUTSIDE6, OUTSIDE64, Port, ROUTER_INSIDE, ROUTER_INSIDE6,
    ROUTER_OUTSIDE, ROUTER_OUTSIDE6, Result, Site, serve_echo, skip,
};

#[test]
fn hosts_behind_one_address_reach_everything() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(NAT_RULES)?;
    let _web = Web::serve(
        site.host(Port::Outside),
        &[80],
        &[("word", b"outside".to_vec())],
    )?;
    let echo = serve_echo(site.host(Port::Outside), 7)?;
    let inside = site.host(Port::Inside);
    for (to, router) in [(OUTSIDE, ROUTER_INSIDE), (OUTSIDE6, ROUTER_INSIDE6)] {
        assert_eq!(fetch(inside, &url_at(to, 80, "word"))?, "outside");
        echoes(inside, to, 7, &[1, 512, 1400, WHOLE4])?;
        ping(inside, to, &[])?;
        one_router_on_the_way(&site, router, to)?;
    }
    println!("{} datagrams there and back", echo.heard());
    let states = site.get("/v1/states")?;
    let shown = states.as_array().into_iter().flatten();
    let translated: Vec<&serde_json::Value> = shown
        .filter(|s| s["translated_src"]["addr"] == INSIDE)
        .collect();
    assert!(
        translated
            .iter()
            .all(|s| s["src"]["addr"] == ROUTER_OUTSIDE),
        "{translated:?}"
    );
    assert!(!translated.is_empty(), "{states}");
    Ok(())
}

#[test]
fn services_inside_are_reached_through_redirections() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(NAT_RULES)?;
    let _web = Web::serve(
        site.host(Port::Inside),
        &[80],
        &[("word", b"inside".to_vec())],
    )?;
    let _echo = serve_echo(site.host(Port::Inside), 53)?;
    let outside = site.host(Port::Outside);
    for to in [ROUTER_OUTSIDE, ROUTER_OUTSIDE6] {
        assert_eq!(fetch(outside, &url_at(to, 8080, "word"))?, "inside");
        echoes(outside, to, 53, &[1, 512, 1400, WHOLE4])?;
    }
    Ok(())
}

#[test]
fn an_ipv6_only_client_reaches_an_ipv4_only_server() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(NAT_RULES)?;
    let (_web, content) = serve_large(site.host(Port::Outside))?;
    let _echo = serve_echo(site.host(Port::Outside), 7)?;
    let inside = site.host(Port::Inside);
    download(&site, inside, OUTSIDE64, &content)?;
    echoes(inside, OUTSIDE64, 7, &[1, 512, 1400, WHOLE4])?;
    ping(inside, OUTSIDE64, &[])?;
    Ok(())
}
