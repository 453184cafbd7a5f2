/* The CGI program of the benchmark: one answer, nothing else. */
#include <unistd.h>

static const char answer[] =
    "Content-Type: text/plain\r\n\r\n"
    "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnop\r\n";

int main(void)
{
    return write(1, answer, sizeof answer - 1) != (ssize_t)(sizeof answer - 1);
}
