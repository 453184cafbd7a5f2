package main

import (
	"fmt"
	"strings"
)

// markdown is the whole report, the summary first.
func (rep *report) markdown() string {
	var b strings.Builder
	b.WriteString("# sluice beside nginx, lighttpd and Apache\n\n")
	if lines := rep.summary(); len(lines) > 0 {
		b.WriteString("What sluice has to hold. Ratios are medians over rounds, with the extremes; \"met\" is about the median.\n\n")
		for _, e := range elsewhere {
			lines = append(lines, []string{e[0], "", "", e[1]})
		}
		writeTable(&b, summaryHead, lines)
		b.WriteString("\n")
	}
	b.WriteString("## The run\n\n")
	var machine [][]string
	for _, m := range rep.machine {
		machine = append(machine, m[:])
	}
	writeTable(&b, []string{"", ""}, machine)
	b.WriteString("\n")
	for _, n := range rep.notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	for _, res := range rep.results {
		fmt.Fprintf(&b, "\n## %s\n\n%s%s.\n\n", res.scenario.name, strings.ToUpper(res.scenario.title[:1]), res.scenario.title[1:])
		table := res.table()
		writeTable(&b, table[0], table[1:])
	}
	if rep.modes != "" {
		fmt.Fprintf(&b, "\n## %s\n\nAccept modes and modes of lingering close, as `sluice tune` measures them.\n\n```\n%s\n```\n", modesName, rep.modes)
	}
	if faults := rep.faults(); len(faults) > 0 {
		b.WriteString("\n## Faults\n\n")
		for _, f := range faults {
			fmt.Fprintf(&b, "- %s\n", f)
		}
	}
	return b.String()
}

func writeTable(b *strings.Builder, head []string, lines [][]string) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat(" --- |", len(head)))
	for _, line := range lines {
		fmt.Fprintf(b, "| %s |\n", strings.Join(line, " | "))
	}
}
