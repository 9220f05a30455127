//! A refund of an order: which goods and how much, held once, then final or given up.

use super::{
    Goods, OrderState, Part, PartLine, Refunding, ToRefund,
    rows::{
        Column, LineColumn, LineRow, Lines, RefundColumn, RefundLineColumn, RefundLineRow, RefundLines, RefundRow,
        Refunds, Row, Stand, find, moved, write,
    },
};
use crate::{
    db::{Changing, insert_new, plus, to},
    ids::{OrderId, PaymentId, Sku, UserId, VoucherId},
    lines::Line,
    money::{Minor, Money, MoneyError, share},
    refusals::{duplicate, within},
    shares::Hold,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait},
};
use tercet_core::{Millis, Refusal};
use tercet_participant::{Outcome, Transaction, retry};

/// Goods and money of one line that a refund takes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    sku: String,
    quantity: i64,
    amount: i64,
}

/// Holds the goods and the money, and takes the order into after-sales unless its claim has it there already.
pub(super) async fn hold(tx: &Transaction, request: ToRefund, now: Millis) -> Outcome<Refunding> {
    let row = find(tx, &request.order).await?;
    let (stand, enters) = stand(&row, &request, now)?;
    check_goods(&row, request.goods)?;
    let Some(payment) = row.payment_id.clone().map(PaymentId::stored) else {
        return retry(format!("the payment of order {} is not noted yet", row.id));
    };
    let whole = Money::new(row.paid, row.currency.parse().map_err(Refusal::from)?);
    let lines = Lines::find().filter(LineColumn::OrderId.eq(&row.id)).order_by_asc(LineColumn::Sku).all(tx).await?;
    let pieces = pieces(&lines, &request.part, whole)?;
    let amount = Minor::sum(pieces.iter().map(|p| Minor(p.amount))).map_err(Refusal::from)?;
    let amount = Money { minor: amount, ..whole };
    within(amount, Money::new(row.paid - row.refunded - row.held, whole.currency))?;
    keep(tx, &request, &pieces, amount).await?;
    let leaves = row.leaves_by_refund || enters;
    let [state, came_from, claim] = stand.changes();
    let held = plus(Column::Held, amount.minor.0);
    write(
        tx,
        &row,
        [state, came_from, claim, held, plus(Column::OpenRefunds, 1), to(Column::LeavesByRefund, leaves)],
        now,
    )
    .await?;
    reply(row, payment, amount, whole, &pieces)
}

/// Where the order stands with this refund, and whether the refund took it there.
fn stand(row: &Row, request: &ToRefund, now: Millis) -> Result<(Stand, bool), Refusal> {
    if row.state != OrderState::InAfterSales {
        return Ok((moved(row, OrderState::InAfterSales, Some(&request.claim), now)?, true));
    }
    if row.claim.as_deref() != Some(request.claim.as_str()) {
        let other = row.claim.as_deref().unwrap_or("another");
        let message = format!("the order is in after-sales under claim {other}, not {}", request.claim);
        return Err(Refusal::new("order_is_in_after_sales", message));
    }
    Ok((Stand { state: row.state, came_from: row.came_from, claim: row.claim.clone() }, false))
}

fn is_shipped(row: &Row) -> bool {
    row.came_from.unwrap_or(row.state).is_shipped()
}

fn check_goods(row: &Row, goods: Goods) -> Result<(), Refusal> {
    match (goods, is_shipped(row)) {
        (Goods::NotShipped, true) => {
            Err(Refusal::new("goods_shipped", format!("the goods of order {} have left", row.id)))
        }
        (Goods::Returned | Goods::Kept, false) => {
            Err(Refusal::new("goods_not_shipped", format!("the goods of order {} have not left", row.id)))
        }
        _ => Ok(()),
    }
}

/// What the refund takes of each line: always within what is left of it.
fn pieces(lines: &[LineRow], part: &Part, whole: Money) -> Result<Vec<Piece>, Refusal> {
    match part {
        Part::Whole => {
            Ok(lines.iter().map(|l| piece(l, quantity_left(l), amount_left(l))).filter(is_something).collect())
        }
        Part::Amount(asked) => by_amount(lines, *asked, whole),
        Part::Lines(asked) => by_lines(lines, asked, whole),
    }
}

fn piece(line: &LineRow, quantity: i64, amount: i64) -> Piece {
    Piece { sku: line.sku.clone(), quantity, amount }
}

fn is_something(piece: &Piece) -> bool {
    piece.quantity > 0 || piece.amount > 0
}

fn quantity_left(line: &LineRow) -> i64 {
    line.quantity - line.refunded_quantity - line.held_quantity
}

fn amount_left(line: &LineRow) -> i64 {
    line.amount - line.refunded_amount - line.held_amount
}

/// Money without goods is spread over what is left of the lines by largest remainder, so that it adds up.
fn by_amount(lines: &[LineRow], asked: Money, whole: Money) -> Result<Vec<Piece>, Refusal> {
    let left: Vec<u64> = lines.iter().map(|l| u64::try_from(amount_left(l)).unwrap_or(0)).collect();
    let total = Minor::sum(lines.iter().map(|l| Minor(amount_left(l))))?;
    within(asked, Money { minor: total, ..whole })?;
    let parts = asked.minor.split(&left)?;
    Ok(lines.iter().zip(parts).map(|(line, part)| piece(line, 0, part.0)).filter(is_something).collect())
}

fn by_lines(lines: &[LineRow], asked: &[PartLine], whole: Money) -> Result<Vec<Piece>, Refusal> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(asked.len());
    for want in asked {
        let line = lines.iter().find(|line| line.sku == want.sku.as_str());
        let line = line.ok_or_else(|| Refusal::new("no_line", format!("the order has no {}", want.sku)))?;
        let (quantity, left) = (i64::from(want.quantity), quantity_left(line));
        let twice = pieces.iter().any(|piece| piece.sku == line.sku);
        if quantity == 0 || quantity > left || twice {
            let message = format!("{quantity} of {} asked, {left} left; each variant stands once", want.sku);
            return Err(Refusal::new("bad_lines", message));
        }
        let amount = want.amount.map_or_else(|| of_pieces(line, quantity), |a| in_currency(a, whole))?;
        pieces.push(piece(line, quantity, amount));
    }
    check_lines(lines, &pieces, whole)?;
    Ok(pieces)
}

/// The share of `quantity` pieces in what is left of the line; all of it for the last ones.
fn of_pieces(line: &LineRow, quantity: i64) -> Result<i64, MoneyError> {
    share(amount_left(line), Minor(quantity), Minor(quantity_left(line)))
}

fn in_currency(amount: Money, whole: Money) -> Result<i64, MoneyError> {
    whole.plus(amount).map(|_| amount.minor.0)
}

/// The sum is within the order's money, and each piece within its line's: in this order, so that the text names the whole.
fn check_lines(lines: &[LineRow], pieces: &[Piece], whole: Money) -> Result<(), Refusal> {
    let asked = Minor::sum(pieces.iter().map(|p| Minor(p.amount)))?;
    let left = Minor::sum(lines.iter().map(|l| Minor(amount_left(l))))?;
    within(Money { minor: asked, ..whole }, Money { minor: left, ..whole })?;
    for piece in pieces {
        let left = lines.iter().find(|l| l.sku == piece.sku).map_or(0, amount_left);
        let asked = Money::new(piece.amount, whole.currency);
        if piece.amount < 0 || piece.amount > left {
            let message = format!("{asked} for {} asked, {} left of it", piece.sku, Money::new(left, whole.currency));
            return Err(Refusal::new("above_left", message));
        }
    }
    Ok(())
}

/// Writes the refund and holds its pieces.
async fn keep(db: &impl ConnectionTrait, request: &ToRefund, pieces: &[Piece], amount: Money) -> Outcome<()> {
    let row = RefundRow {
        id: request.refund.to_string(),
        order_id: request.order.to_string(),
        amount: amount.minor.0,
        state: Hold::Held,
    };
    if !insert_new(db, row).await? {
        return Err(duplicate(&request.refund).into());
    }
    for Piece { sku, quantity, amount } in pieces {
        let (quantity, amount) = (*quantity, *amount);
        let row = RefundLineRow { refund_id: request.refund.to_string(), sku: sku.clone(), quantity, amount };
        insert_new(db, row).await?;
        let room = |of, done, held, more: i64| Expr::col(done).add(Expr::col(held)).add(more).lte(Expr::col(of));
        let held = Lines::update_many()
            .changing([plus(LineColumn::HeldQuantity, quantity), plus(LineColumn::HeldAmount, amount)])
            .filter(LineColumn::OrderId.eq(request.order.as_str()))
            .filter(LineColumn::Sku.eq(sku))
            .filter(room(LineColumn::Quantity, LineColumn::RefundedQuantity, LineColumn::HeldQuantity, quantity))
            .filter(room(LineColumn::Amount, LineColumn::RefundedAmount, LineColumn::HeldAmount, amount))
            .exec(db)
            .await?;
        if held.rows_affected != 1 {
            return retry(format!("the line {sku} moved meanwhile"));
        }
    }
    Ok(())
}

fn reply(row: Row, payment: PaymentId, amount: Money, whole: Money, pieces: &[Piece]) -> Outcome<Refunding> {
    let count = |n: i64| u32::try_from(n).map_err(|_| Refusal::new("bad_lines", "a quantity does not fit"));
    let goods = pieces.iter().filter(|piece| piece.quantity > 0);
    let lines: Result<Vec<_>, _> =
        goods.map(|p| Ok(Line { sku: Sku::stored(&p.sku), quantity: count(p.quantity)? })).collect();
    Ok(Refunding {
        shipped: is_shipped(&row),
        order: OrderId::stored(row.id),
        user: UserId::stored(row.user_id),
        payment,
        amount,
        whole,
        lines: lines.map_err(|refusal: Refusal| refusal)?,
        coupon: row.coupon.map(VoucherId::stored),
        points_spent: count(row.points_spent)?,
        red_packet: row.red_packet.map(VoucherId::stored),
    })
}

/// The money has moved: the refund is final, and the order leaves after-sales when nothing is left of it, or no other refund open.
pub(super) async fn confirm(tx: &Transaction, request: &ToRefund, now: Millis) -> Outcome<()> {
    let Some(amount) = ended(tx, request, Hold::Confirmed).await? else { return Ok(()) };
    let row = find(tx, &request.order).await?;
    let all = row.refunded + amount == row.paid;
    let next = if all { Some(OrderState::AfterSalesDone) } else { way_back(&row, true) };
    let refunded = plus(Column::Refunded, amount);
    leave(tx, &row, next, now, [plus(Column::Held, -amount), refunded, to(Column::LeavesByRefund, true)]).await
}

/// The refund did not come about: the order goes back, unless another refund is open or the claim's own saga has it there.
pub(super) async fn cancel(tx: &Transaction, request: &ToRefund, now: Millis) -> Outcome<()> {
    let Some(amount) = ended(tx, request, Hold::Released).await? else { return Ok(()) };
    let row = find(tx, &request.order).await?;
    let next = way_back(&row, row.leaves_by_refund);
    let same = to(Column::LeavesByRefund, row.leaves_by_refund);
    leave(tx, &row, next, now, [plus(Column::Held, -amount), plus(Column::Refunded, 0), same]).await
}

fn way_back(row: &Row, leaves: bool) -> Option<OrderState> {
    if leaves && row.open_refunds == 1 { row.came_from } else { None }
}

/// One refund less is open; the order goes to `next`, if it goes anywhere.
async fn leave(
    tx: &Transaction, row: &Row, next: Option<OrderState>, now: Millis, changes: [crate::db::Change<Column>; 3],
) -> Outcome<()> {
    let [held, refunded, leaves] = changes;
    let open = plus(Column::OpenRefunds, -1);
    let Some(next) = next else {
        return write(tx, row, [held, refunded, leaves, open], now).await;
    };
    if !row.state.allows(next, row.came_from) {
        return Err(row.state.refuse(next).into());
    }
    let [state, came_from, claim] = Stand { state: next, came_from: None, claim: None }.changes();
    let stays = to(Column::LeavesByRefund, false);
    write(tx, row, [held, refunded, open, state, came_from, claim, stays], now).await
}

/// Moves the refund out of *held*, and its pieces with it; its amount, or nothing when it was moved before.
async fn ended(db: &impl ConnectionTrait, request: &ToRefund, as_: Hold) -> Outcome<Option<i64>> {
    let id = request.refund.as_str();
    let moved = Refunds::update_many()
        .changing([to(RefundColumn::State, as_)])
        .filter(RefundColumn::Id.eq(id))
        .filter(RefundColumn::State.eq(Hold::Held))
        .exec(db)
        .await?;
    if moved.rows_affected == 0 {
        return Ok(None);
    }
    let pieces = RefundLines::find().filter(RefundLineColumn::RefundId.eq(id)).all(db).await?;
    for RefundLineRow { sku, quantity, amount, .. } in &pieces {
        let done = if as_ == Hold::Confirmed { (*quantity, *amount) } else { (0, 0) };
        Lines::update_many()
            .changing([
                plus(LineColumn::HeldQuantity, -quantity),
                plus(LineColumn::HeldAmount, -amount),
                plus(LineColumn::RefundedQuantity, done.0),
                plus(LineColumn::RefundedAmount, done.1),
            ])
            .filter(LineColumn::OrderId.eq(request.order.as_str()))
            .filter(LineColumn::Sku.eq(sku))
            .exec(db)
            .await?;
    }
    Ok(Some(pieces.iter().map(|p| p.amount).sum()))
}
