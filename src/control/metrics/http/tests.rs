//! HTTP with a device that carries nothing: what is answered, and that a client that dawdles is sent away.

use std::sync::Arc;

use tokio::io::DuplexStream;

use super::*;
use crate::control::outcome::Ends;
use crate::control::server::tests::Fake;
use crate::control::worker::Worker;

fn asks() -> Asks {
    let device = Arc::new(Fake::default());
    let worker = Worker::start(Arc::clone(&device) as _, &Ends::new().0).expect("a thread");
    Asks { worker, device, giver: None }
}

fn connect() -> (DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let asks = asks();
    (client, tokio::spawn(async move { converse(server, &asks).await }))
}

async fn ask(request: &str) -> String {
    let (mut client, server) = connect();
    client.write_all(request.as_bytes()).await.expect("room");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("UTF-8");
    server.await.expect("no panic").expect("a client that reads");
    answer
}

#[tokio::test]
async fn the_format_is_the_one_that_is_accepted() {
    let older = ask("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/html, */*\r\n\r\n").await;
    assert!(older.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{older}");
    assert!(older.contains("Transfer-Encoding: chunked\r\n") && older.ends_with("\r\n0\r\n\r\n"), "{older}");
    let accept = "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.8";
    let open = ask(&format!("GET /metrics?x HTTP/1.0\r\naccept: {accept}\r\n\r\n")).await;
    assert!(open.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{open}");
    assert!(!open.contains("chunked") && open.ends_with("\n# EOF\n"), "{open}");
}

#[tokio::test]
async fn anything_else_is_refused_and_named() {
    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed\r\nAllow: GET, HEAD"),
        ("GET /metrics/x HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /\0 HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("\x16\x03\x01\r\n\r\n", "400 Bad Request"),
        (&format!("GET /metrics HTTP/1.1\r\n{}", "x: y\r\n".repeat(100)), "431 Request"),
        (&format!("GET /{}", "x".repeat(MAX_HEAD_LEN)), "431 Request"),
    ] {
        let answer = ask(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer}");
    }
    let head = ask("HEAD /metrics HTTP/1.1\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n") && !head.contains("# TYPE"), "{head}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_finish_its_request_is_sent_away_after_ten_seconds() {
    let (mut client, server) = connect();
    client.write_all(b"GET /metrics HTTP/1.1\r\n").await.expect("room");
    let begun = time::Instant::now();
    assert!(server.await.expect("no panic").is_err());
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_sent_away() {
    let (mut client, server) = tokio::io::duplex(16);
    let asks = asks();
    let server = tokio::spawn(async move { converse(server, &asks).await });
    let reader = tokio::spawn(async move {
        let _ = client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await;
        std::future::pending::<()>().await;
    });
    assert!(server.await.expect("no panic").is_err());
    reader.abort();
}
