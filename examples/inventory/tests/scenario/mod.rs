//! The service on three machines, and a network between them that is not always there.
//!
//! `run` is one day of it, under the current seed: both programs by their own `main`, customers that repeat an order
//! until they hear of it, and one misfortune. It reports; what must hold is for the caller to assert.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use inventory::api::{Delivery, Order};
use inventory::stock::Item;
use reqwest::{Client, StatusCode};
use tokio::sim;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const CUSTOMERS: usize = 3;
/// A customer places at least so many orders, and goes on until the misfortune is over.
const ORDERS_EACH: usize = 6;
/// The longest that a customer thinks between two orders.
const THINKING_MS_MAX: u64 = 200;
const PLENTY: u32 = 1000;
const SCARCE: u32 = 8;
const URL: &str = "http://front:3000";

/// What was delivered in the morning.
const DELIVERED: [(&str, u32); 2] = [("nails", PLENTY), ("anvil", SCARCE)];

/// What may happen while the customers order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Misfortune {
    /// The front cannot reach its store for a while.
    StoreCutOff,
    /// The customers cannot reach the front for a while.
    FrontCutOff,
    /// What the front and its store say to each other is held for a while, and then comes all at once.
    MessagesHeld,
    /// The front's process dies and is started again.
    FrontDies,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) misfortune: Misfortune,
    /// How long it lasted.
    pub(crate) lasted: Duration,
    /// For each item: how many were delivered, and what the service shows at the end.
    pub(crate) items: BTreeMap<&'static str, (u32, Item)>,
    /// Item and order of each reservation that a customer was told of, with its count.
    pub(crate) acknowledged: Vec<(&'static str, String, u32)>,
    /// Requests that ended without an answer, or with "not available".
    pub(crate) failed_attempts: usize,
    /// The longest that a customer waited for an order, with all repetitions.
    pub(crate) slowest: Duration,
    /// How many orders were placed, and how many of them answered that there is not enough.
    pub(crate) placed: usize,
    pub(crate) refused: usize,
    /// What happened, in order.
    pub(crate) account: Vec<Event>,
}

/// Something that a reader of the account wants to know.
#[derive(Debug)]
pub(crate) struct Event {
    /// The virtual time.
    pub(crate) at: Duration,
    /// The machine, or `network`.
    pub(crate) place: &'static str,
    pub(crate) what: String,
}

/// Where everybody notes what happens.
#[derive(Clone, Default)]
struct Account(Arc<Mutex<Vec<Event>>>);

impl Account {
    fn note(&self, place: &'static str, what: String) {
        let event = Event { at: sim::elapsed(), place, what };
        self.0.lock().expect("nobody panics with this lock held").push(event);
    }

    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with this lock held"))
    }
}

/// The account, a line for each event.
impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Event { at, place, what } in &self.account {
            writeln!(formatter, "{:>9.3} s  {place:<8} {what}", at.as_secs_f64())?;
        }
        for (item, order, count) in &self.acknowledged {
            writeln!(formatter, "             {order}: {count} of {item}")?;
        }
        Ok(())
    }
}

/// The misfortune of a seed, when it begins and how long it lasts.
fn draw(random: &mut fastrand::Rng) -> (Misfortune, Duration, Duration) {
    let misfortune = match random.u32(0..10) {
        0..=3 => Misfortune::StoreCutOff,
        4..=5 => Misfortune::FrontCutOff,
        6..=7 => Misfortune::MessagesHeld,
        _ => Misfortune::FrontDies,
    };
    (misfortune, Duration::from_millis(random.u64(100..2500)), Duration::from_millis(random.u64(400..2600)))
}

/// Does the misfortune, and undoes it.
async fn suffer(misfortune: Misfortune, lasts: Duration, account: &Account) {
    let (place, begin, end, name): (_, fn(), fn(), _) = match misfortune {
        Misfortune::StoreCutOff => (
            "network",
            || sim::partition("front", "store"),
            || sim::repair("front", "store"),
            "front and store cannot reach each other",
        ),
        Misfortune::FrontCutOff => (
            "network",
            || sim::partition("test", "front"),
            || sim::repair("test", "front"),
            "the customers cannot reach the front",
        ),
        Misfortune::MessagesHeld => (
            "network",
            || sim::hold("front", "store"),
            || sim::release("front", "store"),
            "what front and store say to each other is held",
        ),
        Misfortune::FrontDies => {
            ("front", || sim::crash("front"), || sim::start("front"), "the process dies")
        }
    };
    account.note(place, format!("{name}, for {lasts:?}"));
    begin();
    sleep(lasts).await;
    end();
    account.note(place, "all is well again".to_owned());
}

/// Environment variables belong to the process, so each program reads the same ones.
fn configure() {
    // SAFETY: a simulation runs one thread at a time, and no program has been started yet.
    unsafe {
        std::env::set_var("LISTEN_ADDR", "0.0.0.0:3000");
        std::env::set_var("STORE_ADDR", "0.0.0.0:6379");
        std::env::set_var("REDIS_URL", "redis://store:6379");
    }
}

pub(crate) async fn run() -> Outcome {
    configure();
    let mut random = fastrand::Rng::with_seed(sim::seed());
    let (misfortune, begins, lasts) = draw(&mut random);
    let account = Account::default();

    sim::default_link().latency_ms(1..=5);
    sim::node("store").main(inventory::store::main);
    sim::node("front").main(inventory::front::main);
    let clerk = Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().expect("a client");
    for (item, count) in DELIVERED {
        deliver(&clerk, item, count).await;
        account.note("test", format!("{count} of {item} are delivered"));
    }

    let (over, is_over) = watch::channel(false);
    let mut customers = JoinSet::new();
    for customer in 0..CUSTOMERS {
        customers.spawn(order_all(customer, random.fork(), is_over.clone(), account.clone()));
    }
    sleep(begins).await;
    suffer(misfortune, lasts, &account).await;
    over.send_replace(true);

    let mut total = Ledger::default();
    for ledger in customers.join_all().await {
        total.acknowledged.extend(ledger.acknowledged);
        total.failed_attempts += ledger.failed_attempts;
        total.slowest = total.slowest.max(ledger.slowest);
        total.placed += ledger.placed;
        total.refused += ledger.refused;
    }
    account
        .note("test", format!("every order was answered, after {} failed attempts", total.failed_attempts));
    // What is still under way on the front, with no customer waiting for it any more, comes to its end.
    sleep(Duration::from_secs(30)).await;
    let mut items = BTreeMap::new();
    for (item, count) in DELIVERED {
        let shown = show(&clerk, item).await;
        account
            .note("test", format!("{} of {count} {item} left, {} orders", shown.left, shown.reserved.len()));
        items.insert(item, (count, shown));
    }
    let Ledger { acknowledged, failed_attempts, slowest, placed, refused } = total;
    Outcome {
        misfortune,
        lasted: lasts,
        items,
        acknowledged,
        failed_attempts,
        slowest,
        placed,
        refused,
        account: account.take(),
    }
}

#[derive(Default)]
struct Ledger {
    acknowledged: Vec<(&'static str, String, u32)>,
    failed_attempts: usize,
    slowest: Duration,
    placed: usize,
    refused: usize,
}

/// A customer repeats an order, under the same name, until it is answered.
async fn order_all(
    customer: usize,
    mut random: fastrand::Rng,
    is_over: watch::Receiver<bool>,
    account: Account,
) -> Ledger {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().expect("a client");
    let mut ledger = Ledger::default();
    while ledger.placed < ORDERS_EACH || !*is_over.borrow() {
        sleep(Duration::from_millis(random.u64(0..THINKING_MS_MAX))).await;
        let item = if random.bool() { "nails" } else { "anvil" };
        let order = format!("customer {customer}, order {}", ledger.placed);
        let body = Order { order: order.clone(), count: random.u32(1..=2) };
        ledger.placed += 1;
        let started = Instant::now();
        let failed_before = ledger.failed_attempts;
        loop {
            let request = client.post(format!("{URL}/items/{item}/orders")).json(&body);
            match request.send().await.map(|response| response.status()) {
                Ok(StatusCode::OK) => {
                    ledger.acknowledged.push((item, body.order, body.count));
                    break;
                }
                Ok(StatusCode::CONFLICT) => {
                    ledger.refused += 1;
                    break;
                }
                Ok(StatusCode::SERVICE_UNAVAILABLE) | Err(_) => ledger.failed_attempts += 1,
                Ok(status) => panic!("{status} is no answer to an order"),
            }
            if ledger.failed_attempts == failed_before + 1 {
                account.note("test", format!("{}: no answer; it is sent again", body.order));
            }
            assert!(sim::elapsed() < Duration::from_secs(300), "{} was never answered", body.order);
            sleep(Duration::from_millis(random.u64(10..100))).await;
        }
        let (waited, attempts) = (started.elapsed(), ledger.failed_attempts - failed_before + 1);
        ledger.slowest = ledger.slowest.max(waited);
        if attempts > 1 {
            account.note("test", format!("{order}: answered at attempt {attempts}, after {waited:?}"));
        }
    }
    ledger
}

/// Repeats the delivery until the front and its store are up.
async fn deliver(client: &Client, item: &str, stock: u32) {
    loop {
        let request = client.put(format!("{URL}/items/{item}")).json(&Delivery { stock });
        if let Ok(StatusCode::NO_CONTENT) = request.send().await.map(|response| response.status()) {
            return;
        }
        assert!(sim::elapsed() < Duration::from_secs(60), "the service never came up");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn show(client: &Client, item: &str) -> Item {
    let response = client.get(format!("{URL}/items/{item}")).send().await.expect("the front answers");
    assert_eq!(response.status(), StatusCode::OK, "{item}");
    response.json().await.expect("an item")
}
