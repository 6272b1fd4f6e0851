//! The load's client of a server that speaks gRPC (fixtures/unchanged, `tonic-hello`): one connection,
//! one request after the other. What HTTP/2 says of the end of each tells whether the server has lost
//! a request, or had announced that it takes no more.

use std::io::{self, Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::load::{Came, TIMEOUT};

/// A connection.
pub struct Channel {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    /// Ends with the connection.
    connection: JoinHandle<Result<(), h2::Error>>,
    /// How many have been sent.
    pub requests: usize,
}

/// A message of nothing, uncompressed.
const NOTHING: [u8; 5] = [0; 5];

impl Channel {
    /// Connects, and shakes hands as far as that is done without the server.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, connection) = runtime.block_on(async {
            let stream = timeout(TIMEOUT, TcpStream::connect(address)).await??;
            stream.set_nodelay(true)?;
            let (sender, connection) = h2::client::handshake(stream).await.map_err(as_io)?;
            Ok::<_, Error>((sender, tokio::spawn(connection)))
        })?;
        Ok(Self { runtime, sender, connection, requests: 0 })
    }

    /// Whether it takes no more requests; and if so, whether the server has said that before it ended.
    pub fn ended(&mut self) -> Option<bool> {
        self.runtime.block_on(async {
            // What has come in the meantime is read only while we wait.
            tokio::time::sleep(Duration::from_millis(1)).await;
            ready(&mut self.sender).await.err().as_ref().map(is_in_order)
        })
    }

    /// One request.
    pub fn ask(&mut self) -> Came {
        self.requests += 1;
        let asked = async {
            let mut answer = Vec::new();
            let conversed = converse(&mut self.sender, &mut answer).await;
            (answer, conversed)
        };
        match self.runtime.block_on(async { timeout(TIMEOUT, asked).await }) {
            Err(_) => Came::TimedOut,
            Ok((_, Ok(came))) => came,
            // Those whose stream is beyond the last one that the server looks at hear of it so.
            Ok((_, Err(error))) if is_in_order(&error) => Came::GivenBack,
            Ok((answer, Err(error))) if answer.is_empty() => Came::Dropped(as_io(error)),
            Ok((_, Err(error))) => Came::Cut(as_io(error)),
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Waits until a request may be sent.
async fn ready(sender: &mut SendRequest<Bytes>) -> Result<(), h2::Error> {
    std::future::poll_fn(|context| sender.poll_ready(context)).await
}

/// The answer's message comes into `answer`.
async fn converse(
    sender: &mut SendRequest<Bytes>,
    answer: &mut Vec<u8>,
) -> Result<Came, h2::Error> {
    let request = Request::post("http://test/helloworld.Greeter/SayHello")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let sent = match ready(sender).await {
        Ok(()) => sender.send_request(request, false),
        Err(error) => Err(error),
    };
    let (response, mut body) = match sent {
        Err(error) if is_in_order(&error) => return Ok(Came::NotSent),
        sent => sent?,
    };
    body.send_data(Bytes::from_static(&NOTHING), true)?;
    let response = response.await?;
    let status = response.status().as_u16();
    let mut stream = response.into_body();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        answer.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    let code = trailers.as_ref().and_then(|it| it.get("grpc-status")?.to_str().ok());
    if code != Some("0") {
        return Ok(Came::Strange(format!("{status}, grpc-status {code:?}")));
    }
    // Five bytes around a message, the number of its one field and that one's length, its text.
    let text = String::from_utf8_lossy(answer.get(7..).unwrap_or_default());
    Ok(Came::Answer(status, text.into_owned(), false))
}

/// Whether the server has announced the connection's end.
fn is_in_order(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
}

fn as_io(error: h2::Error) -> Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| ErrorKind::Other.into())
    } else {
        Error::other(error)
    }
}
