#!/usr/bin/env perl
# An authorizer by HTTP Basic and a filter, as people write them with FCGI.pm: FCGI_ROLE says which is asked for.
use strict;
use warnings;
use FCGI;
use MIME::Base64;

my $request = FCGI::Request();

while ($request->Accept() >= 0) {
    if ($ENV{FCGI_ROLE} eq 'AUTHORIZER') {
        my ($basic) = ($ENV{HTTP_AUTHORIZATION} // '') =~ /^Basic (\S+)$/;
        my ($user, $password) = split /:/, decode_base64($basic // ''), 2;
        if (defined $password && $password eq "$user-secret") {
            print "Status: 200 OK\r\nVariable-REMOTE_USER: $user\r\nVariable-AUTH_TYPE: Basic\r\n\r\n";
        }
        else {
            print "Status: 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"perl\"\r\nContent-Type: text/plain\r\n\r\nperl asks who you are\n";
        }
    }
    else {
        my ($body, $data) = ('', '');
        1 while read(STDIN, $body, 65536, length $body);
        $request->StartFilterData();
        1 while read(STDIN, $data, 65536, length $data);
        print "Content-Type: text/plain\r\n\r\nrole=$ENV{FCGI_ROLE} user=", $ENV{REMOTE_USER} // '', " type=", $ENV{AUTH_TYPE} // '',
          " body=", length $body, " data=", length $data, " of $ENV{FCGI_DATA_LENGTH} modified $ENV{FCGI_DATA_LAST_MOD}\n";
        print scalar reverse $data;
    }
    $request->Finish();
}
