package tune

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// pageStudy is a study as the page shows it.
type pageStudy struct {
	*Study
	Figures []pageFigure
	Tables  []pageTable
	Broken  []broken
}

type pageFigure struct {
	Title  string
	Legend []legendEntry
	SVG    template.HTML
}

type pageTable struct {
	Title string
	Head  []string
	Rows  []pageRow
}

type pageRow struct {
	Cells []string
	Taken bool // it is the recommended one
}

// Page writes the report as one HTML page that needs nothing else: its style and
// its plots are in it.
func (rep *Report) Page(out io.Writer) error {
	var list []pageStudy
	for i, st := range rep.Studies {
		p := pageStudy{Study: st, Broken: st.broken()}
		for _, d := range drawings[i] {
			f := d.figure(st)
			if len(f.rows) == 0 {
				continue
			}
			svg, err := f.svg()
			if err != nil {
				return fmt.Errorf("draw %s: %w", d.title, err)
			}
			p.Figures = append(p.Figures, pageFigure{d.title, f.legend(), svg})
		}
		for load, l := range st.Loads {
			if lines := st.table(load); len(lines) > 1 {
				t := pageTable{Title: loadKinds[l].title, Head: lines[0]}
				for _, line := range lines[1:] {
					t.Rows = append(t.Rows, pageRow{line, line[0] == st.Advice.Setting.String()})
				}
				p.Tables = append(p.Tables, t)
			}
		}
		list = append(list, p)
	}
	return pageTemplate.Execute(out, struct {
		Date    string
		Facts   []Fact
		TOML    string
		Studies []pageStudy
		Columns []column
	}{rep.Began.Format(time.DateTime), rep.Facts, rep.TOML(), list, columns})
}

// Head and Explain are for the page.
func (c column) Head() string    { return c.head }
func (c column) Explain() string { return c.explain }
