//! The HTTP face of the inventory. It translates; what is right and wrong with an order is decided by [`Stock`].

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::stock::{Item, Stock, StockError};

/// The body of `PUT /items/{item}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Delivery {
    /// How many there are.
    pub stock: u32,
}

/// The body of `POST /items/{item}/orders`. Sent again with the same name, it is still one order.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Order {
    /// The customer's own name for it.
    pub order: String,
    /// How many to reserve.
    pub count: u32,
}

/// The answer to an order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Receipt {
    /// How many are left for others.
    pub left: u32,
}

/// The routes of the service.
pub fn router(stock: Arc<Stock>) -> Router {
    Router::new()
        .route("/items/{item}", get(show).put(deliver))
        .route("/items/{item}/orders", post(order))
        .with_state(stock)
}

async fn show(State(stock): State<Arc<Stock>>, Path(item): Path<String>) -> Result<Json<Item>, StockError> {
    stock.show(&item).await.map(Json)
}

async fn deliver(
    State(stock): State<Arc<Stock>>,
    Path(item): Path<String>,
    Json(delivery): Json<Delivery>,
) -> Result<StatusCode, StockError> {
    stock.deliver(&item, delivery.stock).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A reservation that was begun is brought to its end, whether or not the customer waits for it: hence a task of
/// its own, which does not end with the connection.
async fn order(
    State(stock): State<Arc<Stock>>,
    Path(item): Path<String>,
    Json(order): Json<Order>,
) -> Result<Json<Receipt>, Response> {
    let reservation = tokio::spawn(async move { stock.reserve(&item, &order.order, order.count).await });
    match reservation.await {
        Ok(Ok(left)) => Ok(Json(Receipt { left })),
        Ok(Err(error)) => Err(error.into_response()),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
    }
}

impl IntoResponse for StockError {
    fn into_response(self) -> Response {
        let status = match self {
            StockError::UnknownItem => StatusCode::NOT_FOUND,
            StockError::SoldOut { .. } => StatusCode::CONFLICT,
            StockError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            StockError::Malformed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.to_string()).into_response()
    }
}
