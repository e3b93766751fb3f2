//! `voicechat create`, `voicechat host` and `voicechat join`: settled first, then stayed in.

use std::net::SocketAddr;

use crate::app;
use crate::cli::Call;
use crate::failure::{Failure, Kind};
use crate::place::Place;
use crate::plan::Plan;
use crate::prompt;
use crate::stop::Stop;
use crate::ui::Ui;

pub(crate) async fn create(listen: Option<SocketAddr>, call: Call, ui: &mut Ui) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let plan = Plan::create(listen, call, ui)?;
    app::run(plan, ui, &mut stop).await
}

pub(crate) async fn host(
    listen: Option<SocketAddr>,
    address: Option<Place>,
    call: Call,
    ui: &mut Ui,
) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let plan = Plan::host(listen, address, call, ui)?;
    app::run(plan, ui, &mut stop).await
}

/// A person whose code was wrong is asked again; a pipe or a command line is told.
pub(crate) async fn join(typed: Option<String>, call: Call, ui: &mut Ui) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let settings = call.settings.clone().completed()?;
    if let Some(text) = typed {
        let code = prompt::parse(&text)?;
        if ui.is_person() {
            ui.notice(VISIBLE);
        }
        return app::run(Plan::join(code, &call, settings, ui)?, ui, &mut stop).await;
    }
    loop {
        let Some(code) = prompt::code(ui, &mut stop).await? else { return Ok(()) };
        let result = match Plan::join(code, &call, settings.clone(), ui) {
            Ok(plan) => app::run(plan, ui, &mut stop).await,
            Err(failure) => Err(failure),
        };
        match result {
            Err(failure) if ui.is_person() && mends(failure.kind) => ui.trouble(failure.to_string()),
            result => return result,
        }
    }
}

/// What typing the code anew, or the same once more, may mend.
fn mends(kind: Kind) -> bool {
    matches!(kind, Kind::Usage | Kind::WrongCode | Kind::NoSuchRoom | Kind::Closed)
}

const VISIBLE: &str = "Other users of this machine can see a code that stands on the command line; `voicechat join` asks \
                       for it instead.";
