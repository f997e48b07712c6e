/* The probe on the GPU of this machine: a line for each fact, status 1 when one differs from the documentation. */
#include <stdio.h>

#include "tests/cudasim/probe.h"

static void tell(const char *fact, const char *found)
{
    printf("%s %s%s%s\n", found == NULL ? "same   " : "DIFFERS", fact, found == NULL ? "" : ": ",
           found == NULL ? "" : found);
    fflush(stdout);
}

int main(void)
{
    int differ = sa2_probe_run(tell), captures = sa2_probe_captures(tell);
    if (differ < 0)
        printf("DIFFERS no memory that host and device share\n");
    if (captures < 0)
        printf("DIFFERS no stream, event or memory\n");
    return differ != 0 || captures != 0;
}
