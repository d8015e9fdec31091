package console

import (
	"fmt"
	"strings"

	"kuairelay/relay/api"
)

// Size of a ribbon and of a spark, in the units of their drawings.
const (
	ribbonCell   = 2
	ribbonHeight = 16
	sparkWidth   = 240
	sparkHeight  = 36
)

// shape is a part of a drawing in one colour: the d of an SVG path.
type shape struct{ Class, Path string }

// ribbon is a day of an endpoint as a strip: what was delivered stands below, what failed hangs from the top.
type ribbon struct {
	Width, Height int
	Shapes        []shape
	Label         string // the same in words
}

// ribbon draws a day; nil: there is none.
func (v *visit) ribbon(day *api.Day) *ribbon {
	if day == nil {
		return nil
	}
	var good, warn, bad, none strings.Builder
	var sum api.DayCell
	first := 0 // of the cells that are drawn as one
	for i := range day {
		sum.Delivered += day[i].Delivered
		sum.Failed += day[i].Failed
		sum.Dead += day[i].Dead
		level := levelOf(day[i])
		if i+1 < len(day) && levelOf(day[i+1]) == level {
			continue
		}

		at, wide := first*ribbonCell, (i+1-first)*ribbonCell
		first = i + 1
		if level.none {
			box(&none, at, ribbonHeight-1, wide, 1)
			continue
		}
		box(&good, at, level.failed, wide, ribbonHeight-level.failed)
		if level.dead {
			box(&bad, at, 0, wide, level.failed)
		} else {
			box(&warn, at, 0, wide, level.failed)
		}
	}

	out := &ribbon{Width: len(day) * ribbonCell, Height: ribbonHeight}
	for _, s := range []shape{
		{"none", none.String()}, {"good", good.String()}, {"warn", warn.String()}, {"bad", bad.String()},
	} {
		if s.Path != "" {
			out.Shapes = append(out.Shapes, s)
		}
	}
	out.Label = v.t("ribbon.none")
	if sum.Delivered+sum.Failed+sum.Dead > 0 {
		out.Label = v.t("ribbon.label", count(sum.Delivered), count(sum.Failed), count(sum.Dead))
	}
	return out
}

// level is how a cell of a ribbon looks. Cells of one level beside each other are drawn as one.
type level struct {
	none, dead bool
	failed     int // how high its part is that failed
}

func levelOf(c api.DayCell) level {
	all := c.Delivered + c.Failed
	failed := c.Failed
	if c.Dead > 0 {
		failed = max(failed, 1)
		all = max(all, 1)
	}
	if all == 0 {
		return level{none: true}
	}
	const steps = 4
	high := int((failed*steps + all - 1) / all) // a single one is seen, too
	return level{failed: min(high, steps) * ribbonHeight / steps, dead: c.Dead > 0}
}

// box adds a rectangle to a path, unless it has no height.
func box(to *strings.Builder, x, y, width, height int) {
	if height > 0 {
		fmt.Fprintf(to, "M%d %dh%dv%dh-%dz", x, y, width, height, width)
	}
}

// spark is a small chart in a figure.
type spark struct {
	Width, Height int
	Shapes        []shape
	Label         string
}

// spark draws bars: parts of each point above each other.
func (v *visit) spark(label string, points int, parts ...sparkPart) *spark {
	most := 0.0
	for i := range points {
		sum := 0.0
		for _, part := range parts {
			sum += part.of(i)
		}
		most = max(most, sum)
	}
	out := &spark{Width: sparkWidth, Height: sparkHeight, Label: label}
	if most == 0 {
		return out
	}

	wide := float64(sparkWidth) / float64(points)
	floor := make([]float64, points)
	for _, part := range parts {
		var path strings.Builder
		for i := range points {
			high := part.of(i) / most * (sparkHeight - 1)
			if high == 0 {
				continue
			}
			high = max(high, 1)
			floor[i] += high
			fmt.Fprintf(&path, "M%s %sh%sv%sh-%sz", number(float64(i)*wide), number(sparkHeight-floor[i]),
				number(wide*0.85), number(high), number(wide*0.85))
		}
		if path.Len() > 0 {
			out.Shapes = append(out.Shapes, shape{Class: part.class, Path: path.String()})
		}
	}
	return out
}

// sparkPart is one of the parts of a spark's bars.
type sparkPart struct {
	class string
	of    func(point int) float64
}
