#!/usr/bin/env perl
# A form with an upload, as people write it with CGI.pm.
use strict;
use warnings;
use CGI;
use Digest::MD5;

my $q = CGI->new;
if ($q->param('redirect')) {
    print $q->redirect('/elsewhere');
    exit;
}
print $q->header(-type => 'text/plain', -charset => 'utf-8', -cookie => $q->cookie(-name => 'seen', -value => 'yes'));
printf "name=%s cookie=%s self=%s\n", scalar $q->param('name') // '', $q->cookie('seen') // '', $q->self_url;
if (my $file = $q->upload('file')) {
    binmode $file;
    printf "file=%s size=%d md5=%s\n", $q->param('file'), -s $file, Digest::MD5->new->addfile($file)->hexdigest;
}
