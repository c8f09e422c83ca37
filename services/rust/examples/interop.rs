//! Makes calls of gRPC as it is told, a JSON object a line on standard input, and prints what came
//! of each: tonic's side of the tests of the payment stub. Messages are bytes, so it knows no
//! protos.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Write};
use std::time::Duration;

use axum::http::uri::PathAndQuery;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::bytes::{Buf, BufMut};
use serde::{Deserialize, Serialize};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{AsciiMetadataKey, BinaryMetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

const MAXIMUM_MESSAGE_BYTES: usize = 64 << 20;

/// A call, or `count` of them one after the other. A `streaming` call sends its message and never
/// ends its side.
#[derive(Deserialize)]
struct Wish {
    target: String,
    path: String,
    body: String,
    metadata: Vec<(String, String)>,
    timeout_ms: u64,
    cancel_after_ms: u64,
    streaming: bool,
    count: usize,
    new_channels: bool,
}

/// How often each status came, and the last call's message and body.
#[derive(Default, Serialize)]
struct Outcome {
    codes: BTreeMap<i32, usize>,
    message: String,
    body: String,
}

/// Hands messages through as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; source.remaining()];
        source.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut channels = HashMap::new();
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let wish: Wish = serde_json::from_str(&line?)?;
        let outcome = fulfil(&wish, &mut channels).await?;
        serde_json::to_writer(&mut output, &outcome)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

async fn fulfil(
    wish: &Wish,
    channels: &mut HashMap<String, Channel>,
) -> Result<Outcome, Box<dyn std::error::Error>> {
    let body = STANDARD.decode(&wish.body)?;
    let mut outcome = Outcome::default();
    for _ in 0..wish.count {
        let channel = match channels.get(&wish.target) {
            Some(channel) if !wish.new_channels => channel.clone(),
            _ => Endpoint::from_shared(format!("http://{}", wish.target))?.connect_lazy(),
        };
        if !wish.new_channels {
            channels.insert(wish.target.clone(), channel.clone());
        }
        let (status, answer) = match call(channel, wish, body.clone()).await {
            Ok(answer) => (Status::ok(""), answer),
            Err(status) => (status, Vec::new()),
        };
        *outcome.codes.entry(status.code().into()).or_default() += 1;
        outcome.message = status.message().to_owned();
        outcome.body = STANDARD.encode(answer);
    }
    Ok(outcome)
}

async fn call(channel: Channel, wish: &Wish, body: Vec<u8>) -> Result<Vec<u8>, Status> {
    let deadline = Duration::from_millis(wish.timeout_ms);
    let cancelled = Status::new(Code::Cancelled, "cancelled");
    if wish.cancel_after_ms == 0 {
        return unlimited(channel, wish, body, deadline).await;
    }
    tokio::select! {
        answer = unlimited(channel, wish, body, deadline) => answer,
        () = tokio::time::sleep(Duration::from_millis(wish.cancel_after_ms)) => Err(cancelled),
    }
}

async fn unlimited(
    channel: Channel,
    wish: &Wish,
    body: Vec<u8>,
    deadline: Duration,
) -> Result<Vec<u8>, Status> {
    let mut client = Grpc::new(channel).max_decoding_message_size(MAXIMUM_MESSAGE_BYTES);
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::try_from(&wish.path).expect("a path");
    if !wish.streaming {
        let request = with_metadata(Request::new(body), &wish.metadata, deadline);
        return Ok(client.unary(request, path, Raw).await?.into_inner());
    }
    let endless = futures_util::stream::unfold(Some(body), |left| async {
        match left {
            Some(body) => Some((body, None)),
            None => std::future::pending().await,
        }
    });
    let request = with_metadata(Request::new(endless), &wish.metadata, deadline);
    let mut answers = client.streaming(request, path, Raw).await?.into_inner();
    Ok(answers.message().await?.unwrap_or_default())
}

fn with_metadata<T>(
    mut request: Request<T>,
    metadata: &[(String, String)],
    deadline: Duration,
) -> Request<T> {
    request.set_timeout(deadline);
    let fields: &mut MetadataMap = request.metadata_mut();
    for (name, value) in metadata {
        if name.ends_with("-bin") {
            let key: BinaryMetadataKey = name.parse().expect("a name");
            fields.append_bin(key, MetadataValue::from_bytes(value.as_bytes()));
        } else {
            let key: AsciiMetadataKey = name.parse().expect("a name");
            fields.append(key, value.parse().expect("a value"));
        }
    }
    request
}
