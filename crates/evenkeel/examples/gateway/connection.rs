//! One connection of a client.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::cancel::Token;
use evenkeel::errors::ResultExt;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::answer::{self, Fault};
use crate::headers;
use crate::line::{Answering, Line, Stage, Turn};
use crate::proxy::Shared;

/// A request may be on its way when a shutdown begins; a connection without one is closed after this.
const LINGER: Duration = Duration::from_millis(250);

/// How much is read, and for how long, of a client that has been refused: closed at once, it might not see why.
const REST: (u64, Duration) = (1 << 20, Duration::from_secs(1));

/// Serves it until the client is done, or `drain` is cancelled and the requests that have come are answered.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    mut stream: TcpStream,
    peer: SocketAddr,
    drain: Token,
) {
    // Without it, a small answer may wait for the next one.
    let _ = stream.set_nodelay(true);
    let turn = Arc::new(Turn::default());
    let input = shared.config.input;
    let service = service_fn(|request| {
        let mut answering = Answering::begin(&turn);
        let (shared, drain) = (&shared, &drain);
        async move {
            let mut response = shared.answer(request, peer).await;
            if drain.is_cancelled() {
                response
                    .headers_mut()
                    .insert(header::CONNECTION, headers::CLOSE);
            }
            if response.headers().contains_key(header::CONNECTION) {
                answering.is_last();
            }
            Ok::<_, Infallible>(response.map(|body| body.ends(answering)))
        }
    });
    let line = Line::new(&mut stream, &turn, input.timeout());
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(input.timeout())
            .max_headers(input.headers)
            .max_buf_size(input.head_bytes)
            .serve_connection(TokioIo::new(line), service)
    );
    let ended = match drain.run(connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => loop {
            if let Ok(ended) = timeout(LINGER, connection.as_mut()).await {
                break ended;
            }
            match turn.stage() {
                // Connected in advance, as browsers do, and never used.
                Stage::Idle => return,
                // The head that has begun has its time, and its answer is the last.
                Stage::Heard => {}
                _ => {
                    connection.as_mut().graceful_shutdown();
                    break connection.await;
                }
            }
        },
    };
    let Err(error) = ended else {
        return;
    };
    let heard = turn.stage() == Stage::Heard;
    let fault = match &error {
        // Our answer's body failed. The client sees that it is not whole.
        error if error.is_user() => Fault::BrokenOff,
        error if timed_out(error) => Fault::SlowClient(input.timeout()),
        // Gone, or idle for too long.
        _ if !heard => return,
        error if error.is_timeout() => Fault::SlowClient(input.timeout()),
        error if error.is_parse_too_large() => {
            Fault::Malformed("its head is too large, or has too many headers")
        }
        error if error.is_parse() => Fault::Malformed("it is not HTTP/1"),
        _ => Fault::Cut,
    };
    let report = Err::<(), _>(error).raise(fault).unwrap_err();
    let response = answer::problem(&report, &shared.log);
    if heard {
        let _ = timeout(REST.1, refuse(stream, &response)).await;
    }
}

/// Whether the client did not read its answer.
fn timed_out(error: &hyper::Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

/// Answers what hyper would not make a request of.
async fn refuse(mut stream: TcpStream, response: &Response<Bytes>) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {}\r\nconnection: close\r\n", response.status());
    for (name, value) in response.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    text += &format!("content-length: {}\r\n\r\n", response.body().len());
    stream.write_all(text.as_bytes()).await?;
    stream.write_all(response.body()).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(REST.0);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}
