#!/usr/bin/env perl
use strict;
use warnings;
print "X-Sendfile: $ENV{QUERY_STRING}\nContent-Type: text/x-own\nContent-Length: 4\n\nbody";
