/* Private to the table. */
unsigned char hash(const char *word);
