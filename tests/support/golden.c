#include "tests/support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/test_files.h"

sa2_golden_case *golden_open(const char *relative)
{
    char inside[512], path[1024];
    snprintf(inside, sizeof inside, "golden/%s", relative);
    sa2_golden_case *golden;
    sa2_error err = {0};
    if (sa2_golden_case_open(&golden, test_data(path, sizeof path, inside), &err) != SA2_OK)
        fail_msg("%s", err.message);
    return golden;
}

static sa2_tensor needed(const sa2_golden_case *golden, const char *prefix, const char *name,
                         sa2_tensor x)
{
    if (x.data == NULL)
        fail_msg("%s has no %s%s", sa2_golden_name(golden), prefix, name);
    return x;
}

sa2_tensor golden_input(const sa2_golden_case *golden, const char *name)
{
    return needed(golden, "in.", name, sa2_golden_input(golden, name));
}

sa2_tensor golden_output(const sa2_golden_case *golden, const char *name)
{
    return needed(golden, "out.", name, sa2_golden_output(golden, name));
}

void assert_golden(const sa2_golden_case *golden, const char *name, sa2_dtype dtype,
                   sa2_tensor found)
{
    sa2_golden_result result;
    sa2_golden_compare(golden, name, dtype, found, &result);
    if (!result.ok)
        fail_msg("%s out.%s: %s", sa2_golden_name(golden), name, result.why);
}
