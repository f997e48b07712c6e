/* xml.h - whether a text is well-formed XML, as far as pictures need it.
 */
#ifndef SA2_TESTS_SUPPORT_XML_H
#define SA2_TESTS_SUPPORT_XML_H

#include <stddef.h>

/* Fails the test unless: one root element, tags that close in order, attributes with quoted values and none twice in an
 * element, no "<" or loose "&" in text, valid UTF-8 without control characters. */
void assert_well_formed(const char *text, size_t n);

#endif
