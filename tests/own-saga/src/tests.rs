//! The saga in every world in which one thing goes wrong: nothing stays held, and what was sold is what was asked for.

use super::{Party, dinner, restaurant};
use std::sync::Arc;
use tercet::{Registry, core::Participant};
use tercet_participant::{
    SeaOrm,
    sea_orm::{ConnectionTrait, DbBackend, Statement},
};
use tercet_testing::{End, Place};

/// The restaurant, and its books to look at.
struct Town {
    books: SeaOrm,
    restaurant: Arc<dyn Participant>,
}

impl tercet_testing::Participants for Town {
    fn all(&self) -> Vec<Arc<dyn Participant>> {
        vec![self.restaurant.clone()]
    }
}

async fn town(place: Place) -> Town {
    let books = SeaOrm::sqlite(&place.file("restaurant.db")).await.unwrap();
    Town { restaurant: restaurant(&books).await.unwrap(), books }
}

/// What is held and what is sold, seats and meals together.
async fn books(town: &Town) -> (i64, i64) {
    let sums = Statement::from_string(DbBackend::Sqlite, "SELECT SUM(held), SUM(sold) FROM stock");
    let row = town.books.reader().query_one_raw(sums).await.unwrap().unwrap();
    row.try_get_many_by_index().unwrap()
}

/// Runs the saga for so many guests through every world.
async fn check(guests: u32) {
    tercet_testing::worlds(Registry::new().with(dinner()).unwrap())
        .saga("dinner", &Party { guests })
        .participants(town)
        .clean_slate(move |world| async move {
            let sold = if world.end() == End::Confirmed { 2 * i64::from(guests) } else { 0 };
            match books(world.participants()).await {
                (0, found) if found == sold => Ok(()),
                (held, found) => Err(format!("{held} are held, and {found} sold instead of {sold}")),
            }
        })
        .run()
        .await;
}

#[tokio::test]
async fn a_party_gets_its_dinner_or_nothing_is_left_of_it() {
    check(4).await;
}

#[tokio::test]
async fn a_party_with_too_few_meals_gives_its_seats_back() {
    check(35).await;
}
