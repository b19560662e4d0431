//! `hermake schema`: JSON Schemas of what people write and of what `--json` prints.

use std::fs;

use anyhow::{Context, Result};
use clap::ValueEnum as _;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use super::args::{Of, Schema as Args};
use super::{graph, log, stats, status, why};
use crate::config::raw::{Project, TaskFile};
use crate::runlog::{Event, Indexed};
use crate::store::verify::Report;

pub(super) fn schema(args: &Args) -> Result<u8> {
    if let Some(dir) = &args.out {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        for of in Of::value_variants() {
            let path = dir.join(format!("{}.json", name(*of)));
            fs::write(&path, text(*of)?).with_context(|| format!("writing {}", path.display()))?;
        }
        return Ok(0);
    }
    if let Some(of) = args.of {
        super::print(&text(of)?)?;
    } else {
        let names = Of::value_variants().iter().map(|of| name(*of) + "\n");
        super::print(&names.collect::<String>())?;
    }
    Ok(0)
}

fn name(of: Of) -> String {
    of.to_possible_value()
        .map_or_else(String::new, |v| v.get_name().to_owned())
}

fn text(of: Of) -> Result<String> {
    let schema = match of {
        Of::Tasks => read::<TaskFile>(),
        Of::Project => read::<Project>(),
        Of::Status => printed::<Vec<status::Line>>(),
        Of::Why => printed::<why::Answer>(),
        Of::Log => printed::<Indexed>(),
        Of::LogLine => printed::<Event>(),
        Of::LogHit => printed::<log::Hit>(),
        Of::Graph => printed::<Vec<graph::Node>>(),
        Of::Stats => printed::<stats::Stats>(),
        Of::Verify => printed::<Report>(),
    };
    Ok(serde_json::to_string_pretty(&schema).context("encoding the schema")? + "\n")
}

/// Of a file. Editors know draft 7 best.
fn read<T: JsonSchema>() -> Schema {
    SchemaSettings::draft07()
        .into_generator()
        .into_root_schema_for::<T>()
}

/// Of an answer.
fn printed<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>()
}
