//! What belongs to each kind of task.

use anyhow::Result;
use toml::Spanned;

use super::load::Instance;
use super::raw::{KindName, Text};
use super::resolve::input;
use super::scope::Scope;
use super::task::{Kind, Service};

/// The kind of a task, with its strings filled in.
pub(super) fn of(instance: &Instance<'_>, scope: &Scope<'_>) -> Result<Kind> {
    let raw = instance.raw;
    let bad = &|message: &str| -> anyhow::Error {
        let name = &instance.name;
        instance
            .source
            .error(&instance.span, format!("task `{name}`: {message}"))
            .into()
    };
    let argv = |value: &Option<Spanned<Vec<Text>>>, key: &str, kind: &str| -> Result<Vec<String>> {
        let list = value
            .as_ref()
            .ok_or_else(|| bad(&format!("kind `{kind}` needs `{key}`")))?;
        let argv = scope.list(list.get_ref())?;
        if argv.first().is_none_or(String::is_empty) {
            return Err(bad(&format!("`{key}` is empty")));
        }
        Ok(argv)
    };
    let optional = |value: &Option<Spanned<Vec<Text>>>, key: &str| {
        let given = value.as_ref();
        given.map(|_| argv(value, key, "service")).transpose()
    };
    let stray = [
        ("run", raw.run.is_some(), KindName::Run),
        (
            "url",
            raw.url.is_some() || !raw.mirrors.is_empty(),
            KindName::Fetch,
        ),
        ("digest", raw.digest.is_some(), KindName::Fetch),
        ("template", raw.template.is_some(), KindName::Render),
        ("context", !raw.context.is_empty(), KindName::Render),
        ("start", raw.start.is_some(), KindName::Service),
        ("ready", raw.ready.is_some(), KindName::Service),
        ("status", raw.status.is_some(), KindName::Service),
        ("stop", raw.stop.is_some(), KindName::Service),
        ("reload", raw.reload.is_some(), KindName::Service),
    ];
    if let Some((key, ..)) = stray
        .iter()
        .find(|(_, given, kind)| *given && *kind != raw.kind)
    {
        return Err(bad(&format!(
            "`{key}` does not belong to this kind of task"
        )));
    }
    match raw.kind {
        KindName::Run => Ok(Kind::Run {
            argv: argv(&raw.run, "run", "run")?,
        }),
        KindName::Service => Ok(Kind::Service(Box::new(Service {
            start: argv(&raw.start, "start", "service")?,
            ready: optional(&raw.ready, "ready")?,
            status: argv(&raw.status, "status", "service")?,
            stop: argv(&raw.stop, "stop", "service")?,
            reload: optional(&raw.reload, "reload")?,
        }))),
        KindName::Fetch => fetch(instance, scope, bad),
        KindName::Render => render(instance, scope, bad),
    }
}

fn fetch(
    instance: &Instance<'_>,
    scope: &Scope<'_>,
    bad: &dyn Fn(&str) -> anyhow::Error,
) -> Result<Kind> {
    let raw = instance.raw;

    let urls = scope.list(
        &raw.url
            .iter()
            .chain(&raw.mirrors)
            .cloned()
            .collect::<Vec<_>>(),
    )?;
    let digest = raw
        .digest
        .as_ref()
        .ok_or_else(|| bad("kind `fetch` needs `digest`"))?;
    let value = scope.string(digest)?;
    let hex = value
        .strip_prefix("sha256:")
        .or_else(|| value.strip_prefix("blake3:"));
    let good = hex.is_some_and(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit()));
    if !good {
        let message = format!("`{value}` is not `sha256:` or `blake3:` and 64 digits");
        return Err(instance.source.error(&digest.span(), message).into());
    }
    if urls.is_empty() {
        return Err(bad("kind `fetch` needs `url` or `mirrors`"));
    }
    if instance.outputs.len() != 1 || instance.outputs[0].dir {
        return Err(bad("kind `fetch` has one output, a file"));
    }
    Ok(Kind::Fetch {
        urls,
        digest: value.to_lowercase(),
    })
}

fn render(
    instance: &Instance<'_>,
    scope: &Scope<'_>,
    bad: &dyn Fn(&str) -> anyhow::Error,
) -> Result<Kind> {
    let raw = instance.raw;

    let template = raw
        .template
        .as_ref()
        .ok_or_else(|| bad("kind `render` needs `template`"))?;
    if instance.outputs.len() != 1 || instance.outputs[0].dir {
        return Err(bad("kind `render` has one output, a file"));
    }
    let context = raw
        .context
        .iter()
        .map(|(k, v)| Ok((k.clone(), input(instance.source, v, &scope.string(v)?)?)))
        .collect::<Result<_>>()?;
    let path = input(instance.source, template, &scope.string(template)?)?;
    Ok(Kind::Render {
        template: path,
        context,
    })
}
