// Package demo holds the site that `sluice demo` serves.
package demo

import "embed"

// Site is the site's root; Files is what is sent by X-Sendfile.
//
//go:embed site files
var Site embed.FS
