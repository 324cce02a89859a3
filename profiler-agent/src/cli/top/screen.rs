//! The table in a terminal, which is left as it was found: at the end, at an error, at a signal, and
//! at a panic.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row as Cells, Table};

use super::asking::{Question, Told};
use super::table::{self, FUNCTION_TITLES, Row, SERVICE_TITLES, Sort, WIDTH};
use crate::model::hottest::Hottest;

/// How long a key waits, at most, before it is seen; and a table, before it is drawn.
const TURN: Duration = Duration::from_millis(100);

/// What is shown.
struct Screen {
    top: Option<Hottest>,
    wrong: Option<String>,
    sort: Sort,
    title: String,
    color: bool,
}

/// Shows tables until a key or a signal ends it.
pub(super) fn show(question: Question, sort: Sort) -> anyhow::Result<()> {
    // Before the screen is taken: where there is no agent, an error is all that there is to show.
    question.client.get_blocking("/healthz", &[], Duration::from_secs(5))?;
    let title = title(&question);
    let (to_screen, tables) = channel();
    std::thread::Builder::new()
        .name("ask".to_owned())
        .spawn(move || question.ask_on(&to_screen))?;
    let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut screen = Screen { top: None, wrong: None, sort, title, color };
    let mut terminal = ratatui::try_init()?;
    let shown = screen.run(&mut terminal, &tables);
    ratatui::restore();
    shown
}

fn title(question: &Question) -> String {
    let mut title = "profiler-agent top".to_owned();
    if let Some(service) = &question.service {
        title.push_str(&format!("   service {service}"));
    }
    if let Some(pid) = question.pid {
        title.push_str(&format!("   pid {pid}"));
    }
    title
}

impl Screen {
    fn run(
        &mut self,
        terminal: &mut ratatui::DefaultTerminal,
        tables: &Receiver<Told>,
    ) -> anyhow::Result<()> {
        loop {
            for told in tables.try_iter() {
                match told {
                    Told::Top(top) => (self.top, self.wrong) = (Some(*top), None),
                    Told::Wrong(why) => self.wrong = Some(why),
                    Told::End => return Ok(()),
                }
            }
            terminal.draw(|frame| self.draw(frame))?;
            if event::poll(TURN)? && !self.obey(&event::read()?) {
                return Ok(());
            }
        }
    }

    /// Does what a key says; `false` where it says to leave.
    fn obey(&mut self, event: &Event) -> bool {
        let Event::Key(key) = event else { return true };
        if key.kind != KeyEventKind::Press {
            return true;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Char('c') => self.sort = Sort::OnCpu,
            KeyCode::Char('o') => self.sort = Sort::OffCpu,
            _ => {}
        }
        true
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let services = self.top.as_ref().map_or(0, |top| top.services.len());
        // Services have a third, or as much as they need.
        let third = usize::from(frame.area().height / 3).saturating_sub(2);
        let services = u16::try_from(services.min(third)).unwrap_or_default();
        let parts = Layout::vertical([
            Constraint::Length(4),
            Constraint::Length(services + 2),
            Constraint::Min(0),
        ]);
        let [head, above, below] = parts.areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        let Some(top) = &self.top else { return };
        let rows = table::services(top, self.sort, usize::from(above.height));
        self.table(frame, above, &SERVICE_TITLES, "service", rows);
        let rows = table::functions(top, self.sort, usize::from(below.height));
        self.table(frame, below, &FUNCTION_TITLES, "function", rows);
    }

    fn head(&self) -> Vec<Line<'_>> {
        let sorted = match self.sort {
            Sort::OnCpu => "sorted by CPU (o: by waiting)",
            Sort::OffCpu => "sorted by waiting (c: by CPU)",
        };
        let strong = self.style(Style::new().add_modifier(Modifier::BOLD));
        let bad = self.style(Style::new().fg(Color::Red));
        let mut lines = vec![Line::styled(self.title.as_str(), strong)];
        lines.push(Line::raw(match &self.top {
            None => "the first table is being taken".to_owned(),
            Some(top) => table::header(top),
        }));
        lines.push(match (&self.wrong, self.top.as_ref().and_then(table::losses)) {
            (Some(wrong), _) => Line::styled(wrong.as_str(), bad),
            (None, Some(losses)) => Line::styled(losses, bad),
            (None, None) => Line::raw(format!("{sorted}   q: leave")),
        });
        lines
    }

    fn table(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        titles: &[&str],
        name: &str,
        rows: Vec<Row>,
    ) {
        let right = |text: String| Cell::new(Line::from(text).right_aligned());
        let titles = titles.iter().map(|title| right((*title).to_owned()));
        let head = self.style(Style::new().add_modifier(Modifier::REVERSED));
        let header = Cells::new(titles.chain([Cell::new(name.to_owned())])).style(head);
        let width = u16::try_from(WIDTH).unwrap_or(8);
        let columns = rows.first().map_or(0, |row| row.columns.len());
        let widths = std::iter::repeat_n(Constraint::Length(width), columns);
        let widths = widths.chain([Constraint::Min(10)]);
        let lines = rows
            .into_iter()
            .map(|row| Cells::new(row.columns.into_iter().map(right).chain([Cell::new(row.name)])));
        frame.render_widget(Table::new(lines, widths).header(header), area);
    }

    /// A style where colour is wanted.
    fn style(&self, style: Style) -> Style {
        if self.color { style } else { Style::new().add_modifier(style.add_modifier) }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyEvent;

    use super::super::table::tests::sample;
    use super::*;

    fn screen() -> Screen {
        let title = "profiler-agent top   service redis".to_owned();
        Screen { top: Some(sample()), wrong: None, sort: Sort::OnCpu, title, color: true }
    }

    fn lines(screen: &Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(line).map(|line: String| line.trim_end().to_owned()).collect()
    }

    #[test]
    fn a_screen_shows_both_tables() {
        let lines = lines(&screen(), 80, 24);
        assert_eq!(lines[0], "profiler-agent top   service redis");
        assert!(lines[1].contains("0.75 of 8 CPUs"), "{lines:#?}");
        assert!(lines[2].contains("q: leave"), "{lines:#?}");
        let find = |text: &str| lines.iter().position(|line| line.ends_with(text));
        assert!(
            find(" service") < find("0.10 redis") && find("0.10 redis") < find(" function"),
            "{lines:#?}"
        );
        assert!(find(" function") < find("redis-server"), "{lines:#?}");
        assert!(lines[find("redis-server").unwrap()].contains("0.45"), "{lines:#?}");
    }

    #[test]
    fn any_size_can_be_drawn() {
        for (width, height) in [(1, 1), (10, 3), (80, 5), (300, 100)] {
            lines(&screen(), width, height);
        }
        lines(&Screen { top: None, ..screen() }, 80, 24);
    }

    #[test]
    fn what_is_wrong_is_seen() {
        let wrong = Screen { wrong: Some("the agent has ended".to_owned()), ..screen() };
        assert!(lines(&wrong, 80, 24)[2].contains("the agent has ended"));
        let mut lossy = screen();
        lossy.top.as_mut().unwrap().losses = vec![("samples_lost_ring_full".to_owned(), 3)];
        assert!(lines(&lossy, 80, 24)[2].contains("samples_lost_ring_full 3"));
    }

    #[test]
    fn keys_sort_and_leave() {
        let mut screen = screen();
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        assert!(screen.obey(&key(KeyCode::Char('o'), KeyModifiers::NONE)));
        assert_eq!(screen.sort, Sort::OffCpu);
        assert!(screen.obey(&key(KeyCode::Char('c'), KeyModifiers::NONE)));
        assert_eq!(screen.sort, Sort::OnCpu);
        assert!(!screen.obey(&key(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(!screen.obey(&key(KeyCode::Esc, KeyModifiers::NONE)));
        assert!(!screen.obey(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    }
}
