#!/usr/bin/env perl
use strict;
use warnings;

print "Content-Type: text/plain; charset=utf-8\r\n\r\n";
print "$_=$ENV{$_}\n" for sort keys %ENV;
