"""The words of the world: names, synonyms and phrases, and everyday words that prompts may hold besides."""

from __future__ import annotations

from dataclasses import dataclass

# Coordinates and words are easier to read in rows.
# fmt: off
NOUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # one, many; the first is the usual word
    "sailboat": (("sailboat", "sailing boat", "boat", "yacht"), ("sailboats", "sailing boats", "boats", "yachts")),
    "house": (("house", "cottage", "home"), ("houses", "cottages", "homes")),
    "tree": (("tree",), ("trees",)),
    "hot air balloon": (("hot air balloon", "balloon"), ("hot air balloons", "balloons")),
    "fish": (("fish",), ("fish",)),
    "bird": (("bird", "songbird"), ("birds", "songbirds")),
    "flower": (("flower", "blossom"), ("flowers", "blossoms")),
    "mushroom": (("mushroom", "toadstool"), ("mushrooms", "toadstools")),
    "robot": (("robot", "android"), ("robots", "androids")),
    "castle": (("castle", "fortress"), ("castles", "fortresses")),
    "car": (("car", "automobile"), ("cars", "automobiles")),
    "cat": (("cat", "kitten", "kitty"), ("cats", "kittens", "kitties")),
    "star": (("star",), ("stars",)),
    "rocket": (("rocket", "rocket ship", "spaceship"), ("rockets", "rocket ships", "spaceships")),
    "lighthouse": (("lighthouse",), ("lighthouses",)),
    "butterfly": (("butterfly",), ("butterflies",)),
    "dog": (("dog", "puppy", "hound"), ("dogs", "puppies", "hounds")),
    "horse": (("horse", "pony"), ("horses", "ponies")),
    "owl": (("owl",), ("owls",)),
    "whale": (("whale",), ("whales",)),
    "train": (("train", "steam train", "locomotive"), ("trains", "steam trains", "locomotives")),
    "windmill": (("windmill", "mill"), ("windmills", "mills")),
    "moon": (("moon", "crescent moon"), ("moons", "crescent moons")),
    "teapot": (("teapot", "tea pot"), ("teapots", "tea pots")),
    "turtle": (("turtle", "tortoise"), ("turtles", "tortoises")),
    "snail": (("snail",), ("snails",)),
    "apple": (("apple",), ("apples",)),
    "umbrella": (("umbrella", "parasol"), ("umbrellas", "parasols")),
    "lantern": (("lantern", "paper lantern"), ("lanterns", "paper lanterns")),
    "airplane": (("airplane", "aeroplane", "plane"), ("airplanes", "aeroplanes", "planes")),
    "cactus": (("cactus",), ("cactuses",)),
    "dragon": (("dragon",), ("dragons",)),
    "rabbit": (("rabbit", "bunny"), ("rabbits", "bunnies")),
    "elephant": (("elephant",), ("elephants",)),
    "heart": (("heart", "love heart"), ("hearts", "love hearts")),
}
PEOPLE: dict[str | None, tuple[tuple[str, ...], tuple[str, ...]]] = {
    None: (("person", "figure", "human"), ("people", "figures", "humans")),
    "woman": (("woman", "lady", "girl"), ("women", "ladies", "girls")),
    "man": (("man", "guy", "boy"), ("men", "guys", "boys")),
}
POSE_PHRASES: dict[str | None, tuple[str, ...]] = {
    "standing": ("standing", "standing still", "standing upright"),
    "waving": ("waving", "waving hello", "waving with one hand"),
    "arms raised": ("with arms raised", "with raised arms", "cheering", "raising both arms", "with both hands up"),
    "arms spread": ("with arms spread", "with outstretched arms", "with open arms", "spreading the arms"),
    "hands on hips": ("with hands on hips", "with both hands on the hips", "hands on hips"),
    "walking": ("walking", "taking a walk"),
    "running": ("running", "jogging"),
    "jumping": ("jumping", "leaping"),
    "sitting": ("sitting", "sitting on a bench", "seated"),
    "dancing": ("dancing", "doing a dance"),
}
COLOR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "scarlet", "crimson", "bright red"),
    "orange": ("orange", "bright orange"),
    "yellow": ("yellow", "golden", "bright yellow"),
    "green": ("green", "emerald"),
    "teal": ("teal", "turquoise"),
    "blue": ("blue", "royal blue"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose pink"),
    "brown": ("brown", "chocolate brown"),
    "black": ("black", "jet black"),
    "gray": ("gray", "grey"),
    "white": ("white", "snow white"),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "tiny", "little"),
    "large": ("large", "big", "huge", "giant"),
}
PLACE_NOUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # prepositions for what stands there, and names of the place
    "sea": (("by", "near"), ("sea", "ocean")),
    "beach": (("on", "at"), ("beach", "sandy beach", "seashore")),
    "lake": (("by", "near", "beside"), ("lake",)),
    "island": (("on",), ("island", "tropical island", "palm island")),
    "hills": (("in",), ("hilly landscape", "green valley", "landscape of hills")),
    "mountains": (("in",), ("mountain landscape", "mountain valley", "mountain range")),
    "desert": (("in",), ("desert", "sandy desert")),
    "meadow": (("in", "on"), ("meadow", "flower meadow", "grassy field")),
    "forest": (("in",), ("forest", "pine forest", "wood")),
    "garden": (("in",), ("garden", "flower garden")),
    "village": (("in", "near"), ("village", "small village")),
    "city": (("in",), ("city", "city street", "big city")),
    "cave": (("in", "inside"), ("cave", "cavern")),
    "room": (("in", "inside"), ("room", "cozy room")),
    "space": (("in",), ("starry space",)),
}
PLACE_PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "sea": {"afloat": ("on the sea", "on the ocean", "at sea", "on the water", "in the sea", "in the ocean"),
            "at": ("by the sea", "on the sea", "by the ocean", "at the seaside", "in front of the sea",
                "near the water")},
    "beach": {"at": ("on the beach", "at the beach", "on a sandy beach", "on a beach with a palm tree",
        "on the seashore")},
    "lake": {"afloat": ("on the lake", "on a lake", "in the lake", "on the water of a lake"),
             "at": ("by the lake", "at a lake", "on the shore of a lake", "near a lake", "in front of a lake")},
    "island": {"at": ("on an island", "on a tropical island", "on the island", "on a desert island",
        "on an island with a palm tree")},
    "hills": {"at": ("in the hills", "on green hills", "on rolling hills", "among the hills", "hills",
        "in front of green hills")},
    "mountains": {"at": ("in the mountains", "in front of mountains", "with mountains", "near snowy mountains",
        "mountains behind")},
    "desert": {"at": ("in the desert", "in a sandy desert", "on desert dunes", "on sand dunes",
        "on the sand of the desert")},
    "meadow": {"at": ("in a meadow", "on a meadow", "in a green meadow", "in a field of flowers", "on the grass",
        "in a grassy field")},
    "forest": {"at": ("in the forest", "in a forest", "in the woods", "in front of a forest", "among pine trees",
        "in a pine forest")},
    "garden": {"at": ("in the garden", "in a garden", "in a flower garden", "in a garden with a white fence",
        "in the backyard")},
    "village": {"at": ("in a village", "in the village", "in a small village", "near a village", "in a little town",
        "with a village behind")},
    "city": {"at": ("in the city", "in a city", "in front of a city skyline", "with a city skyline", "downtown",
        "on a city street")},
    "cave": {"at": ("in a cave", "in the cave", "inside a cave", "in a cavern", "at the mouth of a cave")},
    "room": {"at": ("in a room", "in the room", "inside a room", "in a cozy room", "in a room with a window",
        "indoors", "in front of a window")},
    "space": {"at": ("in space", "in outer space", "in space with a planet", "among the stars", "in the cosmos",
        "in the galaxy")},
}


@dataclass(frozen=True, slots=True)
class TimeWords:
    """Phrases true `anywhere`, those of the open air only, and adjectives for a place under that sky."""

    anywhere: tuple[str, ...]
    outdoors: tuple[str, ...] = ()
    adjectives: tuple[str, ...] = ()


TIME_PHRASES: dict[str, TimeWords] = {
    "day": TimeWords(("on a sunny day", "during the day", "in daylight", "by day", "at noon"),
                     ("under a blue sky", "in the sunshine", "in bright sunlight", "under a bright blue sky"),
                         ("sunny", "bright")),
    "sunset": TimeWords(("at sunset", "at dusk", "during sunset", "in the evening"),
                        ("under an orange sky", "under a sunset sky", "in the evening light",
                            "with a glowing sunset"), ("sunset",)),
    "night": TimeWords(("at night", "by night", "night", "in the night", "late at night"),
                       ("under a starry sky", "at night with stars", "under the stars", "on a starry night"),
                           ("dark", "starry")),
    "storm": TimeWords(("on a stormy day", "on a rainy day", "during a storm", "in rainy weather"),
                       ("in a storm", "in the rain", "under dark clouds", "in heavy rain", "under storm clouds",
                           "in the pouring rain"), ("stormy", "rainy")),
    "snow": TimeWords(("on a snowy day", "in winter", "in snowy weather", "on a winter day"),
                      ("in the snow", "in falling snow", "with falling snow", "while it snows", "with snowflakes"),
                          ("snowy", "wintry", "winter")),
    "fog": TimeWords(("on a foggy day", "in foggy weather", "on a misty day", "on a gray foggy day"),
                     ("in the fog", "in fog", "in the mist", "in thick fog", "in the morning mist"), ("foggy",
                         "misty", "hazy")),
    "aurora": TimeWords(("with northern lights", "with the aurora", "with the northern lights", "during an aurora"),
                        ("under the northern lights", "under an aurora", "beneath northern lights",
                            "under a green aurora")),
}
MOONLIT = ("in the moonlight", "under the moon")
"""Of nights in which no moon is a subject."""
STYLE_WORDS: dict[str, tuple[str, ...]] = {
    "flat": ("flat illustration", "flat vector illustration", "vector art", "vector illustration", "flat design",
        "flat vector art"),
    "watercolor": ("watercolor", "watercolor painting", "watercolour", "watercolour painting", "aquarelle"),
    "pixel": ("pixel art", "8-bit pixel art", "retro pixel art", "pixel graphics", "video game pixel art"),
    "ink": ("ink drawing", "ink sketch", "pen and ink drawing", "ink", "ink illustration", "comic drawing"),
    "neon": ("neon", "neon lights", "glowing neon", "neon art", "neon sign art"),
    "paper": ("paper cut", "paper cutout", "papercut art", "cut paper", "paper collage", "layered paper art"),
    "oil": ("oil painting", "oil", "oil on canvas", "impressionist painting", "thick oil painting"),
    "chalk": ("chalk drawing", "chalk", "chalk on a blackboard", "blackboard drawing", "chalk art"),
    "blueprint": ("blueprint", "blueprint drawing", "technical blueprint"),
    "stained glass": ("stained glass", "stained glass window", "stained glass art"),
    "woodcut": ("woodcut", "woodcut print", "linocut"),
}
ADJECTIVES = ("cute", "lovely", "beautiful", "pretty", "charming", "simple", "friendly", "single", "happy", "nice")
FILLERS = ("beautiful", "high quality", "detailed", "charming", "cute", "colorful", "colourful", "simple", "lovely",
           "best quality", "masterpiece", "storybook", "for children", "artistic")
OPENERS = ("a picture of", "picture of", "an image of", "an illustration of", "a scene with", "draw", "paint",
    "show me",
           "there is", "a view of", "imagine", "i want", "please draw", "here is")
GENERAL: tuple[str, ...] = (
    # everyday words, so that a prompt beside the templates still meets known tokens
    "i you he she it we they me my your his her its our their this that these those who what where when how why "
    "is are was be been being has have had do does did not no yes can could will would should may might must "
    "and or but if then than so because while until after before from into onto out off up down through across along "
    "around between behind below beneath inside outside within without near far here there very too also only just "
    "more most less least much many few some any all both each every other another same new old young",
    "make create draw paint show see look give add put take bring come go run walk sit stand jump fly float swim sail "
    "drive ride grow bloom shine glow fall rise sleep rest play eat hold carry wear open close turn cross",
    "flying floating sailing swimming driving growing blooming shining glowing sleeping resting playing standing "
    "facing "
    "seen close far away center centre middle top bottom front back corner edge side foreground wide tall long "
    "short round",
    "picture image photo scene view landscape portrait painting drawing sketch print poster postcard card book "
    "cover icon "
    "sticker logo cartoon comic children story fairy tale fantasy magic magical dream dreamy mood atmosphere quiet "
    "calm "
    "peaceful cheerful happy sad lonely funny silly elegant modern ancient retro vintage classic minimal minimalist "
    "bold "
    "soft hard warm cold hot cool light dark pale deep bright vivid pastel muted rich clean rough smooth shiny fresh",
    "color colour colors colours colored coloured colorful colourful tone shade shadow shadows contrast line lines "
    "shape "
    "brush strokes texture canvas paper pencil pen marker crayon gouache acrylic paint style artist art artwork design",
    "sky cloud clouds sun sunlight moon star stars rain snow snowflake wind storm lightning thunder fog mist "
    "rainbow air "
    "water wave waves river stream pond sea shore coast sand stone rock rocks cliff path road street bridge field "
    "grass "
    "leaf leaves bush plant plants flower flowers palm pine wood woods hill valley mountain peak summit dune "
    "village town "
    "city building buildings tower skyline window door wall roof floor curtain carpet table chair bench lamp fence "
    "pier",
    "morning noon afternoon evening dawn dusk twilight midnight night day today spring summer autumn fall winter "
    "season "
    "sunrise golden hour weather sunny cloudy rainy stormy snowy foggy windy",
    "animal animals pet creature wild baby mother father child kid kids friend friends family king queen knight wizard "
    "ship vehicle toy machine object thing things head face eye eyes nose mouth ear ears hair arm arms hand hands "
    "leg legs "
    "foot feet tail wing wings shell hat coat jacket sweater trousers skirt blouse outfit costume scarf boots shoes",
    "blurry ugly bad low quality worst text watermark signature frame border cropped noisy grainy deformed missing "
    "extra "
    "four five six seven eight nine ten zero first second third last half double several empty full",
)
