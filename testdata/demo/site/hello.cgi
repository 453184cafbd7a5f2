#!/bin/sh
printf 'Content-Type: text/plain\n\n'
printf 'Hello from process %s.\n' "$$"
printf 'You asked for %s with the query "%s".\n' "$SCRIPT_NAME" "$QUERY_STRING"
