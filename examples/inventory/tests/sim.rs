//! The service in simulation: whatever happens to the network and to the front, the books are right.
//!
//! One seed is one run. Built with `--features bug`, some seeds fail; without it, none may.
#![cfg(sim)]

mod scenario;

use std::time::Duration;

use scenario::{Misfortune, Outcome};

fn assert_books_are_right(outcome: &Outcome) {
    for (name, (delivered, item)) in &outcome.items {
        let reserved: u32 = item.reserved.values().sum();
        assert_eq!(
            item.left + reserved,
            *delivered,
            "{name}: {} left and {reserved} reserved do not make {delivered}\n{outcome}",
            item.left,
        );
    }
    for (item, order, count) in &outcome.acknowledged {
        let (_, shown) = &outcome.items[item];
        assert_eq!(shown.reserved.get(order), Some(count), "{order}: acknowledged, and lost\n{outcome}");
    }
}

#[tokio::test]
async fn the_books_are_right_whatever_happens() {
    let outcome = scenario::run().await;
    assert_books_are_right(&outcome);
    assert!(!outcome.acknowledged.is_empty(), "nobody got anything:\n{outcome}");
    // Each order was answered exactly once.
    assert_eq!(
        outcome.acknowledged.len() + outcome.refused,
        outcome.placed,
        "an order was lost sight of:\n{outcome}"
    );
}

/// The scenario must do what it claims, or the test above shows nothing. Somebody orders at least every 300 ms, so
/// whatever lasted longer than that was noticed.
#[tokio::test]
async fn misfortunes_are_felt() {
    let outcome = scenario::run().await;
    let noticed = outcome.lasted - Duration::from_millis(300);
    assert!(outcome.slowest >= noticed, "nobody waited:\n{outcome}");
    if outcome.misfortune == Misfortune::FrontDies {
        assert!(outcome.failed_attempts > 0, "nobody was turned away:\n{outcome}");
    }
}
