//! The gRPC service of `proto/echo.proto`: what the generator made of it, and one server.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

pub use generated::{EchoReply, EchoRequest, echo_client, echo_server};

mod generated {
    #![expect(missing_docs, reason = "generated code")]
    tonic::include_proto!("echo");
}

/// A server that signs each answer with its name.
#[derive(Clone, Debug)]
pub struct EchoService {
    name: String,
}

type ReplyStream = Pin<Box<dyn Stream<Item = Result<EchoReply, Status>> + Send>>;

impl EchoService {
    /// The service as the router of tonic takes it.
    pub fn named(name: &str) -> echo_server::EchoServer<Self> {
        echo_server::EchoServer::new(Self { name: name.to_owned() })
    }

    fn reply(&self, text: String, index: u32) -> EchoReply {
        EchoReply { text, index, server: self.name.clone() }
    }
}

#[tonic::async_trait]
impl echo_server::Echo for EchoService {
    /// Beside the text, hands the caller's `x-token` back, and refuses an empty text.
    async fn unary(&self, request: Request<EchoRequest>) -> Result<Response<EchoReply>, Status> {
        let token = request.metadata().get("x-token").cloned();
        let EchoRequest { text, delay_ms, .. } = request.into_inner();
        if text.is_empty() {
            return Err(Status::invalid_argument("the text is empty"));
        }
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        let mut response = Response::new(self.reply(text, 0));
        if let Some(token) = token {
            response.metadata_mut().insert("x-token", token);
        }
        Ok(response)
    }

    type ServerStreamStream = ReplyStream;

    async fn server_stream(&self, request: Request<EchoRequest>) -> Result<Response<ReplyStream>, Status> {
        let EchoRequest { text, count, delay_ms } = request.into_inner();
        let (sender, receiver) = mpsc::channel(4);
        let service = self.clone();
        tokio::spawn(async move {
            for index in 0..count {
                if delay_ms > 0 {
                    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                }
                if sender.send(Ok(service.reply(text.clone(), index))).await.is_err() {
                    return; // the caller has gone
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoReply>, Status> {
        let mut requests = request.into_inner();
        let mut texts = Vec::new();
        while let Some(request) = requests.next().await {
            texts.push(request?.text);
        }
        Ok(Response::new(self.reply(texts.join(","), texts.len() as u32)))
    }

    type BidirectionalStream = ReplyStream;

    async fn bidirectional(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<ReplyStream>, Status> {
        let service = self.clone();
        let mut index = 0;
        let replies = request.into_inner().map(move |request| {
            let reply = service.reply(request?.text, index);
            index += 1;
            Ok(reply)
        });
        Ok(Response::new(Box::pin(replies)))
    }
}
