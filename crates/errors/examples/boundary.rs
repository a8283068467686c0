//! A tiny shop with one boundary: what the user sees, and what the log has.
//!
//! `cargo run -p evenkeel-errors --example boundary`

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_errors::{Code, Known, Origin, Report, ResultExt, Retry, Status, sink};

/// What can go wrong with an order, as far as we thought of it.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error("article {0} is not in the catalogue")]
    NoArticle(String),
    #[error("stock of {article} is {left}, {wanted} are wanted")]
    TooFew {
        article: String,
        left: u32,
        wanted: u32,
    },
}

impl Known for OrderError {
    fn code(&self) -> Code {
        match self {
            Self::NoArticle(_) => Code::new("shop.orders", "no-article", Status::NotFound),
            Self::TooFew { .. } => Code::new("shop.orders", "too-few", Status::ResourceExhausted),
        }
    }

    fn user_message(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::NoArticle(article) => format!("We do not have {article}.").into(),
            // How many are left is our business.
            Self::TooFew { article, .. } => format!("We have not enough {article} today.").into(),
        })
    }

    fn retry(&self) -> Retry {
        match self {
            Self::NoArticle(_) => Retry::Never,
            Self::TooFew { .. } => Retry::After(Duration::from_secs(86_400)),
        }
    }
}

/// The stock, as some other system writes it down.
struct Stock(BTreeMap<&'static str, &'static str>);

impl Stock {
    fn order(&self, article: &str, wanted: u32) -> Result<u32, Report> {
        let entry = self
            .0
            .get(article)
            .raise_with(|_| OrderError::NoArticle(article.into()))?;
        // That the stock holds numbers is somebody else's promise. If it is broken, we want to know.
        let left: u32 = entry
            .parse()
            .bug()
            .note_with(|| format!("the stock of {article} is {entry:?}"))?;
        if left < wanted {
            Err(OrderError::TooFew {
                article: article.into(),
                left,
                wanted,
            })?;
        }
        Ok(left - wanted)
    }
}

fn handle(stock: &Stock, article: &str, wanted: u32) -> Result<String, Report> {
    let left = stock.order(article, wanted).trail()?;
    Ok(format!("{wanted} {article} are yours, {left} are left."))
}

fn main() -> Result<(), Report> {
    Origin::new("shop", "1.2.0").set().bug()?;
    let stock = Stock(BTreeMap::from([
        ("lamps", "7"),
        ("chairs", "2"),
        ("tables", "a few"),
    ]));

    for (article, wanted) in [("lamps", 3), ("chairs", 3), ("beds", 1), ("tables", 1)] {
        println!("> {wanted} {article}");
        match handle(&stock, article, wanted) {
            Ok(answer) => println!("{answer}"),
            // The one place where an error leaves the program.
            Err(report) => {
                let problem = report.boundary(sink::stderr);
                println!("{problem}\nand for programs {}", problem.json());
            }
        }
        println!();
    }
    Ok(())
}
