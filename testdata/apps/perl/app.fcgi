#!/usr/bin/env perl
# A FastCGI application as people write it with FCGI.pm: a loop that answers one request after the other.
use strict;
use warnings;
use FCGI;

my $request = FCGI::Request();
my $count   = 0;

while ($request->Accept() >= 0) {
    $count++;
    my $path = $ENV{PATH_INFO} // '';
    if ($path eq '/post') {
        my $body = '';
        1 while read(STDIN, $body, 65536, length $body);
        print "Content-Type: text/plain\r\n\r\n", length($body), " of $ENV{CONTENT_LENGTH}: ", substr($body, 0, 20), "\n";
    }
    elsif ($path eq '/big') {
        print "Content-Type: application/octet-stream\r\n\r\n";
        print 'x' x 65536 for 1 .. 160;
    }
    elsif ($path eq '/sendfile') {
        print "X-Sendfile: $ENV{QUERY_STRING}\r\nContent-Type: text/x-own\r\n\r\nnot this body";
    }
    elsif ($path eq '/lighttpd') {
        print "X-LIGHTTPD-send-file: $ENV{QUERY_STRING}\r\n\r\n";
    }
    elsif ($path eq '/die-early') {
        die "I die before I say anything\n";
    }
    elsif ($path eq '/die-header') {
        print "Status: 200 OK\r\nX-Half: ";
        $request->Flush();
        die "I die in the header\n";
    }
    elsif ($path eq '/die-late') {
        print "Content-Type: text/plain\r\n\r\n", 'y' x 1_000_000;
        $request->Flush();
        kill KILL => $$;
    }
    elsif ($path eq '/stderr') {
        print STDERR "a complaint of the application\n";
        print "Content-Type: text/plain\r\n\r\nok\n";
    }
    else {
        print "Content-Type: text/plain\r\n\r\npid=$$ count=$count method=$ENV{REQUEST_METHOD} ",
          "script=$ENV{SCRIPT_NAME} path=$path query=$ENV{QUERY_STRING}\n";
    }
    $request->Finish();
}
