package tune

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"sluice/internal/samples"
)

// figure is a plot with a row for each setting and a mark for each number, whose
// whisker reaches from the least to the most.
type figure struct {
	title, unit string
	log         bool // the scale
	rows        []string
	marked      int // row that is recommended; -1: none
	series      []series
}

// series are numbers by row. A row may have none.
type series struct {
	name   string
	values map[int]samples.Spread
}

// Colours are those of the page, which has a light and a dark set: what is drawn
// in one of these is told by it, and gets the page's variable.
var (
	ink    = color.RGBA{1, 0, 0, 255}
	faint  = color.RGBA{1, 0, 1, 255}
	band   = color.RGBA{1, 0, 2, 255}
	tones  = []color.Color{color.RGBA{1, 0, 3, 255}, color.RGBA{1, 0, 4, 255}, color.RGBA{1, 0, 5, 255}}
	glyphs = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}
	marks  = []string{"●", "■", "▲"} // the glyphs, for the legend
)

var pageColours = map[string]string{
	"#010000": "var(--ink)", "#010001": "var(--faint)", "#010002": "var(--band)",
	"#010003": "var(--tone1)", "#010004": "var(--tone2)", "#010005": "var(--tone3)",
}

// Sizes of a figure.
const (
	figureWidth = 17 * vg.Centimeter
	rowHeight   = 0.52 * vg.Centimeter
	axisHeight  = 1.3 * vg.Centimeter
	apart       = 0.22 // of the series of a row, in rows
)

// svg draws the figure.
func (f *figure) svg() (template.HTML, error) {
	p := plot.New()
	p.BackgroundColor = nil
	f.axes(p)
	if f.marked >= 0 {
		if err := f.addBand(p); err != nil {
			return "", err
		}
	}
	lines := plotter.NewGrid()
	lines.Vertical.Color, lines.Horizontal.Color = faint, color.Transparent
	lines.Horizontal.Width = 0
	p.Add(lines)
	for i := range f.series {
		if err := f.addSeries(p, i); err != nil {
			return "", err
		}
	}
	c := vgsvg.New(figureWidth, axisHeight+rowHeight*vg.Length(len(f.rows)))
	p.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", err
	}
	return f.inline(b.String()), nil
}

// y is where a row is: the first is the uppermost.
func (f *figure) y(row int) float64 { return float64(len(f.rows) - 1 - row) }

func (f *figure) axes(p *plot.Plot) {
	p.X.Label.Text = f.unit
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Tick.Color = faint, faint
		for _, s := range []*text.Style{&a.Label.TextStyle, &a.Tick.Label} {
			s.Color, s.Font.Variant = ink, "Sans"
			s.Font.Size = vg.Points(10)
		}
	}
	low, high := f.bounds()
	p.X.Min, p.X.Max, p.X.Tick.Marker = low, high, plot.TickerFunc(even)
	if f.log {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	}
	p.Y.Min, p.Y.Max = -0.6, float64(len(f.rows))-0.4
	p.Y.LineStyle.Width, p.Y.Tick.Length = 0, 0
	var labels plot.ConstantTicks
	for i, r := range f.rows {
		labels = append(labels, plot.Tick{Value: f.y(i), Label: r})
	}
	p.Y.Tick.Marker = labels
}

// bounds are those of the scale: from 0, or for a logarithmic one around what
// there is.
func (f *figure) bounds() (low, high float64) {
	low, high = math.Inf(1), 0
	for _, s := range f.series {
		for _, v := range s.values {
			high = max(high, v.Most)
			if v.Least > 0 {
				low = min(low, v.Least)
			}
		}
	}
	if high == 0 {
		low, high = 0.1, 1
	}
	if f.log {
		return low / 1.3, high * 1.3
	}
	return 0, high * 1.05
}

func (f *figure) addBand(p *plot.Plot) error {
	y := f.y(f.marked)
	poly, err := plotter.NewPolygon(plotter.XYs{{X: p.X.Min, Y: y - 0.5}, {X: p.X.Max, Y: y - 0.5}, {X: p.X.Max, Y: y + 0.5}, {X: p.X.Min, Y: y + 0.5}})
	if err != nil {
		return err
	}
	poly.Color, poly.LineStyle.Width = band, 0
	p.Add(poly)
	return nil
}

func (f *figure) addSeries(p *plot.Plot, i int) error {
	var points struct {
		plotter.XYs
		plotter.XErrors
	}
	for row := range f.rows {
		v, ok := f.series[i].values[row]
		if !ok || f.log && v.Least <= 0 {
			continue
		}
		shift := apart * (float64(len(f.series)-1)/2 - float64(i))
		points.XYs = append(points.XYs, plotter.XY{X: v.Median, Y: f.y(row) + shift})
		points.XErrors = append(points.XErrors, struct{ Low, High float64 }{v.Median - v.Least, v.Most - v.Median})
	}
	if len(points.XYs) == 0 {
		return nil
	}
	bars, err := plotter.NewXErrorBars(points)
	if err != nil {
		return err
	}
	bars.Color, bars.Width, bars.CapWidth = tones[i], vg.Points(1.2), vg.Points(4)
	dots, err := plotter.NewScatter(points.XYs)
	if err != nil {
		return err
	}
	dots.GlyphStyle = draw.GlyphStyle{Color: tones[i], Radius: vg.Points(2.8), Shape: glyphs[i]}
	p.Add(bars, dots)
	return nil
}

var (
	svgHead  = regexp.MustCompile(`(?s)^.*?<svg width="[^"]*" height="[^"]*"`)
	svgColor = regexp.MustCompile(`#01000[0-5]`)
	svgFont  = regexp.MustCompile(`font-family:[^;]*;font-variant:[^;]*;font-weight:[^;]*;font-style:[^;]*;`)
)

// inline makes the text of a file a part of the page, in the page's colours.
func (f *figure) inline(svg string) template.HTML {
	svg = svgHead.ReplaceAllString(svg, fmt.Sprintf(`<svg role="img" aria-label="%s"`, template.HTMLEscapeString(f.title)))
	svg = svgColor.ReplaceAllStringFunc(svg, func(c string) string { return pageColours[c] })
	return template.HTML(svgFont.ReplaceAllString(svg, ""))
}

// Legend names the series with their marks.
func (f *figure) legend() (list []legendEntry) {
	for i, s := range f.series {
		list = append(list, legendEntry{Tone: i + 1, Mark: marks[i], Name: s.name})
	}
	return list
}

type legendEntry struct {
	Tone       int // number of the page's variable
	Mark, Name string
}

// even are the ticks of a linear scale: about five, at multiples of 1, 2 or 5.
func even(low, high float64) (list []plot.Tick) {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	for _, m := range []float64{10, 5, 2, 1} {
		if (high-low)/(m*step) >= 4 {
			step *= m
			break
		}
	}
	for i := math.Ceil(low / step); i*step <= high; i++ {
		list = append(list, tick(i*step))
	}
	return list
}

// decades are the ticks of a logarithmic scale: 1, 2 and 5 of each decade.
func decades(low, high float64) (list []plot.Tick) {
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, m := range []float64{1, 2, 5} {
			if v := m * math.Pow(10, e); v >= low && v <= high {
				list = append(list, tick(v))
			}
		}
	}
	return list
}

func tick(v float64) plot.Tick {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64) // 0.30000000000000004
	return plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)}
}
