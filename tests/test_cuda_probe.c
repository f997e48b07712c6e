/* The simulated device does what the probe expects of hardware. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/cudasim/probe.h"

static void tell(const char *fact, const char *found)
{
    if (found != NULL)
        print_error("%s: %s\n", fact, found);
}

static void every_fact_is_the_same_on_the_simulated_device(void **state)
{
    (void)state;
    assert_int_equal(sa2_probe_run(tell), 0);
    assert_int_equal(sa2_probe_captures(tell), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fact_is_the_same_on_the_simulated_device)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
