"""Plots about two children."""

from __future__ import annotations

from mlx_rev.data.bundled import words
from mlx_rev.data.bundled.grammar import read_plot

HALF_EACH = """
@opening

One day at school, {he} opened {his} lunch bag and found {a_object}.
One day, {hero} had {a_object} for lunch at school.

{friend} sat next to {him} and had nothing to eat.
Next to {him} sat {friend}, who had no lunch.

"Where is your lunch?" asked {hero}.
"Are you not hungry?" asked {hero}.

"A big dog ate my lunch," said {friend}.
"I left my lunch at home," {friend} said.

? {hero} was very hungry too.
? {hero} looked at {his} lunch, and then {he} looked at {friend}.

--
Then {hero} made two pieces of the {object}.
So {hero} cut the {object} into two parts.

"The big piece is for you," {he} told {friend}.
{He} gave the big piece to {friend}.

{hero} and {friend} each ate half of the {object}. \
It tasted better than a whole one.
"Half of {a_object} with a friend is better than a whole one alone," said {hero}. \
{friend} thought so too.
"""

THE_TRUTH = """
@opening

One day, {he} went to play at {friend}'s house.
One day, {hero} was playing at {friend}'s house.

{friend} had a new {object}. "Please be careful with it," {f_he} said.
{friend} showed {him} a new {object}. "You may play with it," {f_he} said.

When {friend} was out of the room, {hero} dropped the {object}, and it broke.
{friend} went to get some milk. Then {hero} let the {object} fall, and it broke.

{hero} was afraid and wanted to hide it.
"Nobody saw me," thought {hero}.

But {he} knew that this was not right.
But {he} felt bad inside.

--
So when {friend} came back, {hero} said, "I broke your {object}. I am sorry."
{hero} went to {friend}. "Your {object} is broken," {he} said. "I did it."

? {friend} was sad at first.
? For a while {friend} did not say a word.

Then {friend} found some glue. "We can fix it together," {f_he} said.
"We can fix it," said {friend}, and {f_he} got some glue.

Soon the {object} was as good as new, and {friend} was not angry. \
{hero} was glad that {he} had told the truth.
"Thank you for telling me the truth," {friend} said to {hero}. \
They let the glue dry and played with the {object} again.
"""

THE_RACE = """
@opening

One day, there was a big race, and {he} wanted to win the golden {object}.
{hero} could run very fast. One day, there was a race for a golden {object}.

{hero} ran in front, and {his} friend {friend} ran behind {him}.
Soon {hero} was first, and {his} friend {friend} was second.

Then {friend} fell down and hurt {f_his} knee.
But {friend} fell over a stone and could not get up.

{hero} heard {f_him} cry and looked back.
"Ouch!" cried {friend}. {hero} looked back.

? The end of the race was very close.
? {He} could already see the {object}.

--
{hero} stopped, ran back, and helped {friend} up.
{hero} turned around and gave {friend} {his} hand.

"Now you will not win," said {friend}.
"You must run!" said {friend}. "You will lose the race."

"We will go together," said {hero}.
"You are my friend," said {hero}. "I will walk with you."

{hero} and {friend} came in last, hand in hand, and someone else got the golden {object}. \
But everyone clapped for them the most.
{hero} did not win the golden {object}, for {he} had stopped to help {friend}. \
"I won a good friend," {he} said after the race.
"""

THE_TRADE = """
@opening

{He} had {a_object}, and {his} friend {friend} had {a_other}.
{hero} liked to play with {his} friend {friend}. \
{hero} had {a_object}, and {friend} had {a_other}.

"Your {other} looks more fun," said {hero}.
{hero} looked at the {other}. "I want that one," {he} said.

"I like your {object} better," said {friend}.
"And I want your {object}," said {friend}.

So they traded, and both went home happy.
So the two friends traded their toys.

But that night {hero} could not sleep. {He} missed {his} {object}.
But when {hero} went to bed, {he} thought about {his} {object}.

--
In the morning, there was a knock at the door. It was {friend}.
The next day, {friend} came to {his} house very early.

? {friend} looked a little sad.
? {friend} had not slept well.

"I miss my {other}," said {friend}. "And I miss my {object}!" said {hero}.
"I want my {other} back," {friend} said. "I want my {object} back too!" said {hero}.

So {hero} and {friend} traded back. \
They played with the {object} and the {other} together, and nobody was sad.
{hero} got the {object} back, and {friend} got the {other} back. \
Your own toy is the best when you have missed it.
"""

IN_THE_MAIL = """
@opening

{friend} was {his} best friend, but {friend} had moved far away.
{His} best friend was {friend}, who had moved to a town far away.

{hero} missed {f_him} very much.
Every day {hero} thought about {f_him}.

One day, {he} sat down and made a paper {object} for {friend}.
"I will make a paper {object} for {friend}," {hero} said one day.

{He} painted it red and gold.
It was red and blue, with a gold star.

{He} put it in the mail with a kiss.
Then {he} took it to the mailman.

--
{hero} waited for one week, and then for two weeks.
Many days went by, and {hero} waited.

? {He} looked in the mailbox every morning, but it was empty.
? "Maybe it got lost," {he} thought.

At last a letter came. It was from {friend}.
Then the mailman brought a letter from {friend}.

"Your paper {object} is beside my bed, and I see it every night," {friend} wrote. \
{hero} read the letter again and again.
In the letter was a picture of {friend} with the paper {object}. \
{hero} smiled, for a good friend is never far away.
"""

THE_NEW_CHILD = """
@opening

One day, {he} saw a new {f_boy} at the {place}. {f_His} name was {friend}.
One day, there was a new {f_boy} named {friend} at the {place}.

{friend} stood alone and looked at {f_his} shoes.
{friend} did not know anyone and sat all alone.

The other children were running and did not see {f_him}.
Nobody asked {f_him} to play.

"I was new once too," thought {hero}.
{hero} knew how it was to be alone.

--
{He} took {his} {object} and went to {friend}. "Do you want to play?" {he} asked.
So {he} showed {friend} {his} {object}. "You can play with me," {he} said.

{friend} was too shy to talk, but {f_he} smiled.
{friend} looked up. "Yes, please," {f_he} said in a small voice.

Soon they were laughing and running.
First the two of them played, and then other children came too.

? It was the best day of the week.
? {hero} was happy to have a new friend.

"Please bring your {object} to the {place} tomorrow," {friend} said to {hero}. \
{friend} was not shy any more.
After that, {hero} and {friend} played with the {object} at the {place} every day. \
{friend} was never alone again.
"""

TOO_SMALL = """
@opening

{He} had a warm red {object}, and {he} wore it every winter.
{hero} loved {his} warm red {object}. {He} wore it every winter.

But one cold morning, the {object} did not fit.
When the snow came again, {hero} could not put on the {object}.

{He} pulled and pulled, but it was too small.
"It is too small!" {he} cried.

"You have grown," said {his} mother.
{His} mother smiled. "You are so big now," said {his} mother.

? {hero} wanted to keep it in a drawer.
? {hero} did not want a new one.

--
Then {he} looked out of the window and saw little {friend} from next door.
Outside in the snow stood little {friend} from next door.

{friend} wore only a thin shirt and was very cold.
{friend} was so cold that {f_his} nose was blue.

{hero} ran out with the {object}. "Try this," {he} said.
So {hero} took the {object} outside. "This is for you," {he} said.

The red {object} was too small for {hero}, but it was just right for {friend}. \
Now it could keep someone warm again.
{friend} was warm in the red {object} that {hero} had given {f_him}. \
{hero} felt warm inside.
"""

HIDE_AND_SEEK = """
@opening

One day, {hero} and {friend} played hide and seek in the {place}.
One rainy day, {he} played hide and seek in the {place} with {friend}.

{friend} closed {f_his} eyes and counted to ten.
"I will count to ten," said {friend}.

{hero} hid in a big {object} and pulled a cloth over it.
{hero} saw a big {object}, climbed in, and pulled a cloth over it.

It was warm and dark in there.
{He} was very quiet and did not move.

"I am coming!" called {friend}, and {f_he} looked behind the door.
{friend} looked high and low, but {f_he} could not find {him}.

--
{friend} looked for a long time. "You win!" {f_he} called. "Come out!"
"Where are you?" called {friend}. "The game is over!"

But nobody came.
But it was quiet. {friend} began to worry.

? {f_He} stood still and listened.
? {f_He} was a little afraid.

Then {friend} heard a soft sound. It came from the big {object}.
Then there was a funny sound, and {friend} looked into the {object}.

{friend} took away the cloth, and there was {hero}, asleep in the {object}. \
Nobody had ever hidden so well in the {place}.
{hero} had fallen asleep in the {object}. \
{friend} laughed so loudly that everyone came to the {place} to see.
"""

PLOTS = (
    read_plot("half each", HALF_EACH, words.SNACKS),
    read_plot("the truth", THE_TRUTH, words.TOYS),
    read_plot("the race", THE_RACE, words.PRIZES),
    read_plot("the trade", THE_TRADE, words.TOYS),
    read_plot("in the mail", IN_THE_MAIL, words.PAPER),
    read_plot("the new child", THE_NEW_CHILD, words.PLAYTHINGS, ("park", "beach", "playground")),
    read_plot("too small", TOO_SMALL, words.CLOTHES),
    read_plot("hide and seek", HIDE_AND_SEEK, words.HIDING, words.ROOMS),
)
