//! The service as its customers see it, over HTTP. Ordinary tests, in either world.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use inventory::api::{Delivery, Order, Receipt};
use inventory::stock::Item;
use reqwest::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// A store and a front on the loopback interface.
struct Service {
    address: SocketAddr,
    url: String,
    client: reqwest::Client,
    stop_front: oneshot::Sender<()>,
    front: JoinHandle<Result<(), inventory::BoxError>>,
    stop_store: oneshot::Sender<()>,
    store: JoinHandle<mini_redis::Result<()>>,
}

impl Service {
    async fn start() -> Self {
        let (store_listener, store_address) = listen().await;
        let (stop_store, store_stopping) = oneshot::channel::<()>();
        let store = tokio::spawn(mini_redis::server::run(store_listener, store_stopping));

        let (front_listener, front_address) = listen().await;
        let (stop_front, front_stopping) = oneshot::channel::<()>();
        let front = tokio::spawn(async move {
            let shutdown = async {
                let _ = front_stopping.await;
            };
            inventory::front::serve(front_listener, &format!("redis://{store_address}"), shutdown).await
        });
        let client =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().expect("a client");
        Self {
            address: front_address,
            url: format!("http://{front_address}"),
            client,
            stop_front,
            front,
            stop_store,
            store,
        }
    }

    async fn deliver(&self, item: &str, stock: u32) -> StatusCode {
        let request = self.client.put(format!("{}/items/{item}", self.url)).json(&Delivery { stock });
        request.send().await.expect("an answer").status()
    }

    async fn show(&self, item: &str) -> Item {
        let response = self.client.get(format!("{}/items/{item}", self.url)).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.expect("an item")
    }

    fn order(&self, item: &str, order: &str, count: u32) -> reqwest::RequestBuilder {
        let body = Order { order: order.into(), count };
        self.client.post(format!("{}/items/{item}/orders", self.url)).json(&body)
    }

    async fn reserve(&self, item: &str, order: &str, count: u32) -> Result<u32, StatusCode> {
        let response = self.order(item, order, count).send().await.expect("an answer");
        if response.status() == StatusCode::OK {
            return Ok(response.json::<Receipt>().await.expect("a receipt").left);
        }
        Err(response.status())
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

#[tokio::test]
async fn orders_reserve_what_is_there() {
    let service = Service::start().await;
    assert_eq!(service.deliver("nails", 10).await, StatusCode::NO_CONTENT);
    assert_eq!(service.reserve("nails", "first", 3).await, Ok(7));
    assert_eq!(service.reserve("nails", "second", 7).await, Ok(0));
    assert_eq!(service.reserve("nails", "third", 1).await, Err(StatusCode::CONFLICT));
    let reserved = BTreeMap::from([("first".to_owned(), 3), ("second".to_owned(), 7)]);
    assert_eq!(service.show("nails").await, Item { left: 0, reserved });
}

#[tokio::test]
async fn an_unknown_item_is_not_found() {
    let service = Service::start().await;
    assert_eq!(service.reserve("nothing", "first", 1).await, Err(StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn a_repeated_order_counts_once() {
    let service = Service::start().await;
    service.deliver("nails", 10).await;
    assert_eq!(service.reserve("nails", "first", 4).await, Ok(6));
    assert_eq!(service.reserve("nails", "first", 4).await, Ok(6));
    let reserved = BTreeMap::from([("first".to_owned(), 4)]);
    assert_eq!(service.show("nails").await, Item { left: 6, reserved });
}

#[tokio::test]
async fn many_customers_at_once_get_no_more_than_there_is() {
    let service = Service::start().await;
    service.deliver("nails", 30).await;
    let mut orders = JoinSet::new();
    for number in 0..50 {
        let request = service.order("nails", &format!("order {number}"), 1);
        orders.spawn(async move { request.send().await.expect("an answer").status() });
    }
    let answers = orders.join_all().await;
    let count = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(StatusCode::OK), count(StatusCode::CONFLICT)), (30, 20));
    let item = service.show("nails").await;
    assert_eq!((item.left, item.reserved.len()), (0, 30));
}

#[tokio::test]
async fn without_its_store_the_front_says_so() {
    let service = Service::start().await;
    service.deliver("nails", 10).await;
    drop(service.stop_store);
    service.store.await.expect("no panic").expect("no error");
    let request = service.client.get(format!("{}/items/nails", service.url));
    let status = request.send().await.expect("an answer").status();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_front_ends_in_order() {
    let service = Service::start().await;
    service.deliver("nails", 10).await;
    assert_eq!(service.reserve("nails", "last", 1).await, Ok(9));
    drop(service.stop_front);
    drop(service.client); // its idle connection would keep the front waiting
    tokio::time::timeout(Duration::from_secs(20), service.front)
        .await
        .expect("the front ends")
        .expect("no panic")
        .expect("no error");
    let error = TcpStream::connect(service.address).await.expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}
