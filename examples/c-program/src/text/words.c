#include "tally/words.h"

#include <ctype.h>

int next_word(FILE *file, char word[LONGEST_WORD])
{
    int length = 0, c;
    while ((c = getc(file)) != EOF) {
        if (isalpha(c)) {
            if (length < LONGEST_WORD - 1)
                word[length++] = (char)tolower(c);
        } else if (length) {
            break;
        }
    }
    word[length] = '\0';
    return length > 0;
}
